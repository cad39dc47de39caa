typedef int runtime_jit_placeholder;
