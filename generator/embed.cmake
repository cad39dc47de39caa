# Writes OUT: a C table {name, text} of FILES under SYMBOL, ended by {0, 0}; the texts as byte lists, which no literal-length limit touches.
# Usage: cmake -DOUT=... -DSYMBOL=... -DFILES="a;b" -P embed.cmake
set(content "#include \"embedded.h\"\n\nconst apq__embedded ${SYMBOL}[] = {\n")
foreach(file ${FILES})
  get_filename_component(name ${file} NAME)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND content "    {\"${name}\", (const char[]){${bytes}0}},\n")
endforeach()
string(APPEND content "    {0, 0},\n};\n")
file(WRITE ${OUT} "${content}")
