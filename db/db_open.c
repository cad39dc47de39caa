#include "db_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "db_schema.h"
#include "host.h"
#include "status.h"

/* More files set aside than this in one folder is a fault to look at, not to add to. */
enum { SET_ASIDE_MAX = 1000 };

char *apq__db_user_path(void) {
  char *folder = apq__cache_dir();
  char *path = folder ? apq__format("%s/apq.db", folder) : NULL;
  apq__free(folder);
  return path;
}

const char *apq__db_system_path(void) {
  return APQ__SYSTEM_DB;
}

const char *apq__db_path(const apq__db *db) {
  return db->path;
}

const char *apq__db_policy(void) {
  return "A winner is, for one GPU (name, SMs, arch), problem, objective and template hash, the "
         "variant with the lowest median of the newest run; medians within 1 % of it are ties, "
         "which go to the smaller canonical key. A variant that failed verification there cannot "
         "win, nor can a modelled time win for a real GPU.";
}

void apq__db_close(apq__db *db) {
  if (!db) return;
  apq__store_close(db->store);
  apq__free(db->path);
  apq__free(db);
}

/* ---- the folder ---- */

static char *folder_of(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return apq__strdup(".");
  return apq__strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static apq_status prepare_folder(const char *path, apq_error *error) {
  char *folder = folder_of(path);
  if (!folder) return apq__fail(error, APQ_OUT_OF_MEMORY, "database", "'%s': out of memory", path);
  apq_status status = apq__make_dirs(folder, error);
  if (!status && faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) != 0) {
    int code = errno;
    status = apq__fail(error, code == EACCES || code == EROFS ? APQ_READ_ONLY : APQ_IO, "database",
                       "folder '%s' cannot be written: %s", folder, strerror(code));
  }
  apq__free(folder);
  return status;
}

/* Refuses what cannot be a database file, before SQLite makes a poorer message of it. *exists tells
 * whether it is there with content. */
static apq_status check_file(const char *path, struct stat *info, int *exists, apq_error *error) {
  *exists = 0;
  memset(info, 0, sizeof *info);
  if (stat(path, info) != 0) {
    int code = errno;
    if (code == ENOENT) return APQ_OK;
    return apq__fail(error, APQ_IO, "database", "'%s' cannot be opened: %s", path, strerror(code));
  }
  if (!S_ISREG(info->st_mode))
    return apq__fail(error, APQ_IO, "database", "'%s' is not a file", path);
  if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0)
    return apq__fail(error, APQ_IO, "database", "'%s' cannot be read: %s", path, strerror(errno));
  *exists = info->st_size > 0;
  return APQ_OK;
}

static apq_status fail_kind(const char *path, apq__db_kind kind, int version, apq_error *error) {
  if (kind == APQ__DB_NEWER)
    return apq__fail(error, APQ_CORRUPT, "database",
                     "'%s' is of version %d, and this library knows versions up to %d", path,
                     version, APQ__DB_VERSION);
  return apq__fail(error, APQ_CORRUPT, "database", "'%s' is the database of another program", path);
}

/* ---- opening for reading ---- */

/* Yes when in doubt: then nothing is read past it. */
static int has_content(const char *path, const char *suffix) {
  char *name = apq__format("%s%s", path, suffix);
  struct stat info;
  int found = !name || (stat(name, &info) == 0 && info.st_size > 0);
  apq__free(name);
  return found;
}

/* Opens and reads the header.  On failure *out is NULL. */
static apq_status try_open(const char *path, apq__store_mode mode, apq__store **out,
                           apq__db_kind *kind, int *version, apq_error *error) {
  apq_status status = apq__store_open(path, mode, out, error);
  if (!status) status = apq__db_identify(*out, kind, version, error);
  if (status) {
    apq__store_close(*out);
    *out = NULL;
  }
  return status;
}

/* A writer that was killed leaves a journal, which only a writer may roll back; and a database in a
 * folder that cannot be written may need locks or a shared-memory file that SQLite cannot make
 * there. */
static apq_status open_for_reading(const char *path, apq__store **out, apq__db_kind *kind,
                                   int *version, apq_error *error) {
  apq_status status = try_open(path, APQ__STORE_READ, out, kind, version, error);
  if (status == APQ_OK || status == APQ_CORRUPT || status == APQ_OUT_OF_MEMORY) return status;
  if (has_content(path, "-journal")) {
    apq__store *writer = NULL;
    if (try_open(path, APQ__STORE_WRITE, &writer, kind, version, NULL)) return status;
    apq__store_close(writer);
    return try_open(path, APQ__STORE_READ, out, kind, version, error);
  }
  if (status == APQ_BUSY || has_content(path, "-wal")) return status;
  return try_open(path, APQ__STORE_IMMUTABLE, out, kind, version, error);
}

/* A file of an earlier version may lie where nothing can be written, so it is migrated in memory.
 */
static apq_status migrate_copy(apq__db *db, int version, apq_error *error) {
  apq__store *copy = NULL;
  apq_status status = apq__store_open(db->path, APQ__STORE_MEMORY, &copy, error);
  if (!status) status = apq__store_copy(db->store, copy, error);
  if (!status) status = apq__db_migrate(copy, version, APQ__DB_VERSION, error);
  if (status) {
    apq__store_close(copy);
    return status;
  }
  apq__store_close(db->store);
  db->store = copy;
  return apq__db_refresh_winners(db, error);
}

static apq_status open_reader(apq__db *db, apq_error *error) {
  struct stat info;
  int exists = 0, version = 0;
  apq__db_kind kind = APQ__DB_EMPTY;
  apq_status status = check_file(db->path, &info, &exists, error);
  if (!status && exists) status = open_for_reading(db->path, &db->store, &kind, &version, error);
  if (status) return status;
  if (kind == APQ__DB_EMPTY)
    return apq__fail(error, APQ_NOT_FOUND, "database", "there is no database '%s'", db->path);
  if (kind == APQ__DB_OLDER) return migrate_copy(db, version, error);
  return kind == APQ__DB_CURRENT ? APQ_OK : fail_kind(db->path, kind, version, error);
}

/* ---- opening for writing ---- */

static int ignore_measurement(const apq__winner *row, void *user) {
  (void)row;
  (void)user;
  return 0;
}

static int ignore_tuned(const apq__tuned_row *row, void *user) {
  (void)row;
  (void)user;
  return 0;
}

static int ignore_failure(const apq__failure *row, void *user) {
  (void)row;
  (void)user;
  return 0;
}

/* CORRUPT unless every page, every object of the schema and every row is as it was written. */
static apq_status verify(apq__db *db, apq_error *error) {
  apq__rows rows = {0};
  int more = 0;
  apq_status status = apq__rows_open(db->store, "PRAGMA integrity_check(1)", NULL, 0, &rows, error);
  if (!status) status = apq__rows_next(&rows, &more, error);
  if (!status && (!more || strcmp(apq__rows_text(&rows, 0), "ok") != 0))
    status = apq__fail(error, APQ_CORRUPT, "database", "'%s' is damaged: %s", db->path,
                       apq__rows_text(&rows, 0));
  apq__rows_close(&rows);
  if (!status) {
    status = apq__db_check_schema(db->store, error);
    if (status) apq__error_prefix(error, "'%s'", db->path);
  }
  if (!status) status = apq__db_each_measurement(db, ignore_measurement, NULL, error);
  if (!status) status = apq__db_failures(db, ignore_failure, NULL, error);
  if (!status) status = apq__db_each_tuned(db, ignore_tuned, NULL, error);
  if (!status) status = apq__db_check_kept(db, error);
  return status;
}

/* Brings an empty or older file to the current version.  *from is what it was when this process did
 * it, else the current version. */
static apq_status bring_up(apq__db *db, int *from, apq_error *error) {
  apq__db_kind kind = APQ__DB_EMPTY;
  int version = 0;
  *from = APQ__DB_VERSION;
  apq_status status = apq__store_begin(db->store, error);
  if (status) return status;
  status = apq__db_identify(db->store, &kind, &version, error);
  if (!status && (kind == APQ__DB_EMPTY || kind == APQ__DB_OLDER)) {
    status = apq__db_migrate(db->store, version, APQ__DB_VERSION, error);
    *from = version;
  }
  /* Also what another program's insertions left pending. */
  if (!status) status = apq__db_refresh_winners(db, error);
  return apq__store_end(db->store, status, error);
}

/* One attempt; *inode tells which file it was about. */
static apq_status open_writer(apq__db *db, struct stat *inode, int *from, apq_error *error) {
  int exists = 0, version = 0;
  apq__db_kind kind = APQ__DB_EMPTY;
  *from = APQ__DB_VERSION;
  apq_status status = check_file(db->path, inode, &exists, error);
  if (!status) status = try_open(db->path, APQ__STORE_WRITE, &db->store, &kind, &version, error);
  if (status) return status;
  if (apq__store_is_read_only(db->store))
    return apq__fail(error, APQ_READ_ONLY, "database", "'%s' cannot be written", db->path);
  if (kind == APQ__DB_NEWER || kind == APQ__DB_FOREIGN)
    return fail_kind(db->path, kind, version, error);
  /* Of a new file, where it still can be set: a context reads all winners, and with larger pages it
   * does so in a quarter of the reads, three quarters of the time. */
  if (kind == APQ__DB_EMPTY) apq__store_run(db->store, "PRAGMA page_size = 16384", NULL, 0, NULL);
  /* A file left in WAL mode cannot be opened where nothing can be written; while others use it, it
   * stays. */
  apq__store_run(db->store, "PRAGMA journal_mode = DELETE", NULL, 0, NULL);
  status = bring_up(db, from, error);
  /* The file can be written, so it is its header that says otherwise. */
  if (status == APQ_READ_ONLY)
    return apq__fail(error, APQ_CORRUPT, "database", "'%s' has a damaged header", db->path);
  return status ? status : verify(db, error);
}

/* Renames one file to `to` unless that exists. */
static int move_file(const char *from, const char *to) {
  if (link(from, to) == 0) return unlink(from);
  /* Some file systems have no links. */
  if (errno == EEXIST || (errno != EPERM && errno != ENOSYS && errno != EOPNOTSUPP)) return -1;
  if (access(to, F_OK) == 0) {
    errno = EEXIST;
    return -1;
  }
  return rename(from, to);
}

/* The journal goes first, so that no journal is ever beside a new database. */
static int move_database(const char *path, const char *to) {
  static const char *const suffixes[] = {"-journal", "-wal", "-shm", ""};
  for (int i = 0; i < APQ__COUNT(suffixes); i++) {
    char *old = apq__format("%s%s", path, suffixes[i]);
    char *new = apq__format("%s%s", to, suffixes[i]);
    int code = ENOMEM;
    if (old && new) code = move_file(old, new) == 0 ? 0 : errno;
    apq__free(old);
    apq__free(new);
    if (code && !(code == ENOENT && suffixes[i][0])) return code;
  }
  return 0;
}

static int is_same_file(const char *path, const struct stat *inode) {
  struct stat now;
  return stat(path, &now) == 0 && now.st_dev == inode->st_dev && now.st_ino == inode->st_ino;
}

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* Moves a damaged file to the first free "<path>.set-aside-<n>", whose name goes to `name` (a new
 * string).  Processes do this one at a time, by a lock on the folder, and only to the file they
 * found damaged: another may have moved it already and made a new one; then *name is NULL. */
static apq_status set_aside(const char *path, const struct stat *inode, char **name,
                            apq_error *error) {
  int code = ENOMEM, lock = -1;
  char *to = NULL, *folder = folder_of(path);
  *name = NULL;
  if (!folder) goto cleanup;
  lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  /* A file system without locks still sets files aside. */
  if (lock >= 0) flock(lock, LOCK_EX);
  code = is_same_file(path, inode) ? EEXIST : 0;
  for (int n = 1; n <= SET_ASIDE_MAX && code == EEXIST; n++) {
    apq__free(to);
    to = apq__format("%s.set-aside-%d", path, n);
    code = !to ? ENOMEM : access(to, F_OK) == 0 ? EEXIST : move_database(path, to);
  }
  if (!code) {
    *name = to;
    to = NULL;
  }

cleanup:
  if (lock >= 0) close(lock);
  apq__free(to);
  apq__free(folder);
  if (!code) return APQ_OK;
  return apq__fail(error, apq__status_from_errno(code), "database",
                   "damaged '%s' cannot be set aside as '%s.set-aside-1' to -%d: %s", path,
                   base_name(path), SET_ASIDE_MAX, strerror(code));
}

static apq_status open_or_replace(apq__db *db, char note[256], apq_error *error) {
  apq_status status = prepare_folder(db->path, error);
  struct stat inode;
  int from = 0;
  /* Each round but the last sets one file aside, or finds that another process did. */
  for (int round = 0; !status && round < 4; round++) {
    apq_error trouble = APQ_ERROR_INIT;
    char *name = NULL;
    status = open_writer(db, &inode, &from, &trouble);
    if (status != APQ_CORRUPT || round == 3) {
      if (status) apq__fail(error, status, trouble.stage, "%s", trouble.message);
      apq_error_clear(&trouble);
      break;
    }
    apq__store_close(db->store);
    db->store = NULL;
    status = set_aside(db->path, &inode, &name, error);
    if (name && note)
      snprintf(note, 256, "%s; set aside as '%s', and a new one is used", trouble.message,
               base_name(name));
    apq__free(name);
    apq_error_clear(&trouble);
  }
  if (!status && note && from > 0 && from < APQ__DB_VERSION)
    snprintf(note, 256, "'%s' is migrated from version %d to %d", db->path, from, APQ__DB_VERSION);
  return status;
}

apq_status apq__db_open(const char *path, apq__db_mode mode, apq__db **out, char note[256],
                        apq_error *error) {
  *out = NULL;
  if (note) note[0] = 0;
  apq__db *db = apq__calloc(1, sizeof *db);
  if (db) db->path = apq__strdup(path);
  if (!db || !db->path) {
    apq__db_close(db);
    return apq__fail(error, APQ_OUT_OF_MEMORY, "database", "'%s': out of memory", path);
  }
  db->mode = mode;
  apq_status status =
      mode == APQ__DB_READ ? open_reader(db, error) : open_or_replace(db, note, error);
  if (status) {
    apq__db_close(db);
    return status;
  }
  *out = db;
  return APQ_OK;
}
