# Installs to a fresh prefix, builds every example against it (find_package shared and static, pkg-config) and runs it on the emulated
# device.
set -eu
build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if grep -qE '^APQ_(ASAN|UBSAN|TSAN):BOOL=(ON|1)' "$build/CMakeCache.txt"; then
  echo 'skipped: programs linked to sanitized libraries need the sanitizers too'
  exit 77
fi

# quiet COMMAND...: shows what the command printed only when it fails.
quiet() {
  "$@" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
}

names=$(cd "$source/examples" && ls ./*.c | sed 's|^\./||; s|\.c$||')
# run_all HOW FOLDER
run_all() {
  for name in $names; do
    echo "== $name, $1"
    APQ_DEVICE=emu "$2/$name"
  done
}

quiet cmake --install "$build" --prefix "$work/prefix"
headers=$(ls "$work/prefix/include")
[ "$headers" = apq.h ] || { echo "installed headers: $headers"; exit 1; }

# Projects outside of the source tree, as a user's would be.
cp -r "$source/examples" "$work/shared"
quiet cmake -S "$work/shared" -B "$work/shared/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix"
quiet cmake --build "$work/shared/build"
run_all 'find_package, shared' "$work/shared/build"

mkdir "$work/static"
cp "$source"/examples/*.c "$work/static"
{
  echo 'cmake_minimum_required(VERSION 3.25)'
  echo 'project(consumer LANGUAGES C)'
  echo 'find_package(apq 0.1 REQUIRED)'
  for name in $names; do
    echo "add_executable($name $name.c)"
    echo "target_link_libraries($name PRIVATE apq::apq_static)"
  done
} > "$work/static/CMakeLists.txt"
quiet cmake -S "$work/static" -B "$work/static/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix"
quiet cmake --build "$work/static/build"
run_all 'find_package, static' "$work/static/build"

PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name apq.pc)")
export PKG_CONFIG_PATH
mkdir "$work/pc"
for name in $names; do
  # shellcheck disable=SC2046
  ${CC:-cc} -o "$work/pc/$name" "$work/static/$name.c" $(pkg-config --cflags --libs apq) -lm \
    -Wl,-rpath,"$(pkg-config --variable=libdir apq)"
done
run_all pkg-config "$work/pc"

# The tuner runs from where it was installed.
version=$("$work/prefix/bin/apq-tune" --version)
echo "$version"
[ "$version" = "apq-tune $(pkg-config --modversion apq)" ]
