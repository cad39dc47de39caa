/* The Lua files that travel in the binary. */
#ifndef APQ_SPACE_BUILTIN_H
#define APQ_SPACE_BUILTIN_H

/* Text of templates/<name>.lua, or NULL. */
const char *apq__embedded_lua(const char *name);

#endif
