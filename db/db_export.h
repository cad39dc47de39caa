/* What export and import agree on.  A line is a kind and its fields, parted by tabs;
 * docs/database.md has the fields. */
#ifndef APQ_DB_EXPORT_H
#define APQ_DB_EXPORT_H

#define APQ__LINE_HEADER      "apq-database\t1"
#define APQ__LINE_ARTIFACT    "artifact"
#define APQ__LINE_FAILURE     "failure"
#define APQ__LINE_MEASUREMENT "measurement"
#define APQ__LINE_TUNED       "tuned"
#define APQ__LINE_CHECKSUM    "checksum"

#endif
