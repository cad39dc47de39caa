/* Log-log plots as inline SVG.  Colors come from the page's style sheet: classes `f0` to `f7` for
 * the styles of points and lines, `frame`, `grid`, `guide`, `ring`, `line` and `band`. */
#ifndef APQ_SVG_PLOT_H
#define APQ_SVG_PLOT_H

#include "alloc.h"

enum { APQ__PLOT_STYLES = 8 }; /* each has its own color and marker */

/* What an axis counts, from `low` to `high`, both above 0. */
typedef struct apq__axis {
  const char *label;
  double low, high;
  int is_time;      /* seconds, with ticks at round numbers */
  const int *ticks; /* where not a time: rising numbers, labeled where there is room */
  int tick_count;
} apq__axis;

typedef struct apq__plot {
  apq__text *out;
  apq__axis x, y;
} apq__plot;

/* Begins the SVG element: frame, ticks and labels.  `title` is for people who cannot see it.  Both
 * ranges are widened a little, and to a factor of 2 at least. */
void apq__plot_begin(apq__plot *plot, apq__text *out, const char *title, const apq__axis *x,
                     const apq__axis *y);
void apq__plot_end(apq__plot *plot);

/* A marker; `title` shows when pointed at.  A ring about it where `is_ringed`. */
void apq__plot_point(apq__plot *plot, int style, double x, double y, int is_ringed,
                     const char *title);
/* A line in the color of the style from one point to another. */
void apq__plot_line(apq__plot *plot, int style, double from_x, double from_y, double to_x,
                    double to_y);
/* A dashed line up the plot, and one where x equals y. */
void apq__plot_guide(apq__plot *plot, double x);
void apq__plot_diagonal(apq__plot *plot);
/* A band on top of the frame, in the color of the style; the ends of the axis where `from` or `to`
 * is 0. */
void apq__plot_band(apq__plot *plot, int style, double from, double to, const char *title);

/* A small SVG element with the style's marker alone, for legends. */
void apq__plot_marker(apq__text *out, int style);

#endif
