typedef int generator_placeholder;
