/* The report as one HTML page that needs nothing from elsewhere: tables, and plots as inline SVG.
 */
#ifndef APQ_REPORT_PAGE_H
#define APQ_REPORT_PAGE_H

#include "alloc.h"
#include "report.h"

/* Appends the page, which XML parsers read too; `database` is the path to name in it.  The report
 * has at least one entry.  Memory exhaustion shows in page->failed. */
void apq__report_page(const apq__report *report, const char *database, apq__text *page);

#endif
