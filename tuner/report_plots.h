/* The plots of one group of a report: the entries that differ in nothing but m. */
#ifndef APQ_REPORT_PLOTS_H
#define APQ_REPORT_PLOTS_H

#include "report.h"

/* The place of a family among the styles of points and lines. */
int apq__report_style(const char *family);

/* Appends time over m: a line for each family through the best kernel of every m, the winners
 * ringed, and a band that shows which family wins where.  `count` entries by rising m. */
void apq__report_plot_sweep(const apq__report_entry *entry, int count, apq__text *page);

/* Appends modelled over measured time of every kernel of the group that has both. */
void apq__report_plot_model(const apq__report_entry *entry, int count, apq__text *page);

#endif
