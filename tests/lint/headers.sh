# Every header compiles alone, and apq.h also as C++.
cd "$2" || exit 1
failed=0
includes='-Iruntime/include'
for folder in runtime runtime/base runtime/device runtime/jit generator db tuner templates tests/unit tests/gpu; do
  includes="$includes -I$folder"
done
# The CUDA backend's headers need the toolkit that the build found, if any.
cuda=$(sed -n 's/^CUDA_INCLUDE:PATH=//p' "$1/CMakeCache.txt" 2>/dev/null)
skip=prelude_cuda.h # is CUDA C for NVRTC
if [ -f "$cuda/cuda.h" ]; then
  includes="$includes -isystem $cuda"
else
  echo 'runtime/device/cuda_*.h: not checked, there is no cuda.h'
  skip='*cuda*'
fi
for header in $(find runtime generator db tuner templates tests -name '*.h' ! -name "$skip" | sort); do
  ${CC:-cc} -std=gnu11 -D_GNU_SOURCE -DAPQ_SOURCE_DIR='""' -DAPQ_BINARY_DIR='""' $includes -Wall -Wextra -Wno-unused -Werror -fsyntax-only -x c "$header" || failed=1
done
if command -v clang >/dev/null; then
  clang -Wall -Wextra -Werror -fsyntax-only -x c++ -std=c++11 runtime/include/apq.h || failed=1
else
  echo 'apq.h as C++: not checked, there is no clang'
fi
exit $failed
