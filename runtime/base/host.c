#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"
#include "status.h"

static const struct {
  const char *name, *doc;
} variables[APQ__VAR_COUNT] = {
    [APQ__VAR_DEVICE] = {"APQ_DEVICE", "default device: cuda, cuda:<ordinal>, emu or emu:<arch>"},
    [APQ__VAR_DB] = {"APQ_DB", "database file, instead of apq.db in the cache folder"},
    [APQ__VAR_CACHE_DIR] = {"APQ_CACHE_DIR", "cache folder, instead of $XDG_CACHE_HOME/apq"},
    [APQ__VAR_CC] = {"APQ_CC", "host C compiler that builds kernels for the emulated device"},
    [APQ__VAR_NVRTC] = {"APQ_NVRTC", "path of libnvrtc.so"},
    [APQ__VAR_CUBLASLT] = {"APQ_CUBLASLT", "path of libcublasLt.so, which bench compares with"},
    [APQ__VAR_EMU_SEED] = {"APQ_EMU_SEED", "seed of the thread order on the emulated device"},
};

static const char *environment(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

const char *apq__variable_get(apq__variable variable) {
  return (unsigned)variable < APQ__VAR_COUNT ? environment(variables[variable].name) : NULL;
}

const char *apq__variable_name(apq__variable variable) {
  return (unsigned)variable < APQ__VAR_COUNT ? variables[variable].name : "?";
}

const char *apq__variable_doc(apq__variable variable) {
  return (unsigned)variable < APQ__VAR_COUNT ? variables[variable].doc : "?";
}

char *apq__cache_dir(void) {
  const char *own = apq__variable_get(APQ__VAR_CACHE_DIR);
  if (own) return apq__strdup(own);
  /* The XDG base directory specification has relative paths ignored. */
  const char *xdg = environment("XDG_CACHE_HOME");
  if (xdg && xdg[0] == '/') return apq__format("%s/apq", xdg);
  const char *home = environment("HOME");
  return home ? apq__format("%s/.cache/apq", home) : NULL;
}

const char *apq__temp_dir(void) {
  const char *named = environment("TMPDIR");
  return named && named[0] == '/' ? named : P_tmpdir;
}

static apq_status fail_errno(apq_error *error, int code, const char *what, const char *path) {
  return apq__fail(error, apq__status_from_errno(code), "file", "cannot %s '%s': %s", what, path,
                   strerror(code));
}

static apq_status fail_memory(apq_error *error, const char *path) {
  return apq__fail(error, APQ_OUT_OF_MEMORY, "file", "out of memory at '%s'", path);
}

/* 0, or the errno value. */
static int make_dir(const char *path) {
  if (mkdir(path, 0777) == 0) return 0;
  int code = errno;
  struct stat info;
  /* Also EACCES or EROFS may be said of a folder that is there. */
  if (stat(path, &info) == 0) return S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
  return code;
}

apq_status apq__make_dirs(const char *path, apq_error *error) {
  char *partial = apq__strdup(path);
  if (!partial) return fail_memory(error, path);
  apq_status status = APQ_OK;
  for (char *at = partial; *at && status == APQ_OK; at++) {
    if (*at != '/' || at == partial) continue;
    *at = 0;
    int code = make_dir(partial);
    if (code) status = fail_errno(error, code, "make folder", partial);
    *at = '/';
  }
  if (status == APQ_OK) {
    int code = make_dir(partial);
    if (code) status = fail_errno(error, code, "make folder", path);
  }
  apq__free(partial);
  return status;
}

apq_status apq__read_file(const char *path, char **data, size_t *size, apq_error *error) {
  apq_status status = APQ_OK;
  char *buffer = NULL;
  size_t length = 0, capacity = 0;
  struct stat info;
  FILE *file = fopen(path, "rb");
  if (!file) return fail_errno(error, errno, "open", path);
  /* A hint only: files of /proc say 0, and a file may grow meanwhile.  One byte more notices its
   * end at once. */
  if (fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode)) capacity = (size_t)info.st_size + 2;
  if (capacity < 4096) capacity = 4096;
  do {
    char *bigger = length && length + 1 == capacity ? apq__realloc(buffer, capacity *= 2)
                   : buffer                         ? buffer
                                                    : apq__alloc(capacity);
    if (!bigger) {
      status = fail_memory(error, path);
      goto cleanup;
    }
    buffer = bigger;
    length += fread(buffer + length, 1, capacity - 1 - length, file);
  } while (!feof(file) && !ferror(file));
  if (ferror(file)) {
    status = fail_errno(error, errno, "read", path);
    goto cleanup;
  }
  buffer[length] = 0;
  *data = buffer;
  *size = length;
  buffer = NULL;
cleanup:
  fclose(file);
  apq__free(buffer);
  return status;
}

/* Opens a new file beside `path`.  Not mkstemp: its files are private to the user, and a shared
 * cache must be readable. */
static int open_beside(const char *path, char **name) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  uint64_t state = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
  state ^= (uint64_t)getpid() << 40 ^ (uint64_t)(uintptr_t)&state;
  for (int attempt = 0; attempt < 100; attempt++) {
    *name = apq__format("%s.%016llx.tmp", path, (unsigned long long)apq__random(&state));
    if (!*name) {
      errno = ENOMEM;
      return -1;
    }
    int descriptor = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) return descriptor;
    int code = errno;
    apq__free(*name);
    *name = NULL;
    errno = code;
    if (code != EEXIST) return -1;
  }
  return -1;
}

/* 0, or the errno value. */
static int write_all(int descriptor, const char *data, size_t size) {
  while (size) {
    ssize_t written = write(descriptor, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    data += written;
    size -= (size_t)written;
  }
  return 0;
}

apq_status apq__new_file_begin(apq__new_file *file, const char *path, apq_error *error) {
  file->path = path;
  file->descriptor = open_beside(path, &file->temporary);
  return file->descriptor < 0 ? fail_errno(error, errno, "write", path) : APQ_OK;
}

apq_status apq__new_file_write(apq__new_file *file, const void *data, size_t size,
                               apq_error *error) {
  const int code = write_all(file->descriptor, data, size);
  return code ? fail_errno(error, code, "write", file->path) : APQ_OK;
}

apq_status apq__new_file_rewrite(apq__new_file *file, const void *data, size_t size,
                                 apq_error *error) {
  if (lseek(file->descriptor, 0, SEEK_SET) < 0)
    return fail_errno(error, errno, "write", file->path);
  return apq__new_file_write(file, data, size, error);
}

apq_status apq__new_file_end(apq__new_file *file, apq_status status, apq_error *error) {
  int code = 0;
  if (!file->temporary) return status;
  if (close(file->descriptor) != 0) code = errno;
  if (!status && !code && rename(file->temporary, file->path) != 0) code = errno;
  if (status || code) unlink(file->temporary);
  apq__free(file->temporary);
  file->temporary = NULL;
  if (status) return status;
  return code ? fail_errno(error, code, "write", file->path) : APQ_OK;
}

apq_status apq__write_file(const char *path, const void *data, size_t size, apq_error *error) {
  apq__new_file file = {0};
  apq_status status = apq__new_file_begin(&file, path, error);
  if (status) return status;
  status = apq__new_file_write(&file, data, size, error);
  return apq__new_file_end(&file, status, error);
}

apq_status apq__file_map_open(const char *path, apq__file_map *out, apq_error *error) {
  struct stat info;
  *out = (apq__file_map){0};
  int code = 0;
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return fail_errno(error, errno, "open", path);
  if (fstat(descriptor, &info) != 0)
    code = errno;
  else if (!S_ISREG(info.st_mode))
    code = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
  if (!code && info.st_size > 0) {
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED)
      code = errno;
    else
      *out = (apq__file_map){data, (size_t)info.st_size};
  }
  close(descriptor); /* the mapping stays */
  return code ? fail_errno(error, code, "map", path) : APQ_OK;
}

void apq__file_map_close(apq__file_map *map) {
  if (map->data) munmap((void *)(uintptr_t)map->data, map->size);
  *map = (apq__file_map){0};
}

double apq__now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int64_t apq__unix_time(void) {
  return (int64_t)time(NULL);
}

void apq__sha256(const apq__piece *pieces, int count, char hex[65]) {
  SHA256_CTX context;
  uint8_t digest[32];
  SHA256_Init(&context);
  for (int i = 0; i < count; i++) SHA256_Update(&context, pieces[i].data, pieces[i].size);
  SHA256_Final(digest, &context);
  for (int i = 0; i < 32; i++) {
    hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
    hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
  }
  hex[64] = 0;
}

/* Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014. */
uint64_t apq__random(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
