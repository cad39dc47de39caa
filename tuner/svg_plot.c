#include "svg_plot.h"

#include <math.h>
#include <stdio.h>

#include "html_text.h"

/* Pixels of the viewBox; the page scales it. */
enum {
  WIDTH = 520,
  HEIGHT = 360,
  LEFT = 64,
  RIGHT = WIDTH - 14,
  TOP = 22,
  BOTTOM = HEIGHT - 44,
  BAND = 8,     /* height of the band above the frame */
  X_LABEL = 40, /* least distance of the labels of two ticks */
  Y_LABEL = 14,
  TICK_TEXT = 24, /* buffer of a label */
};

static double place(double value, const apq__axis *axis, double from, double to) {
  return from + (to - from) * log(value / axis->low) / log(axis->high / axis->low);
}
static double place_x(const apq__plot *plot, double value) {
  return place(value, &plot->x, LEFT, RIGHT);
}
static double place_y(const apq__plot *plot, double value) {
  return place(value, &plot->y, BOTTOM, TOP);
}

/* ---- axes ---- */

static void widen(apq__axis *axis) {
  double middle = sqrt(axis->low * axis->high);
  double half = fmax(pow(axis->high / axis->low, 0.54), sqrt(2));
  axis->low = middle / half;
  axis->high = middle * half;
}

static const char *time_label(double seconds, char text[TICK_TEXT]) {
  static const struct {
    double unit;
    const char *name;
  } units[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
  int i = 0;
  while (i < 3 && seconds < units[i].unit * 0.999) i++;
  snprintf(text, TICK_TEXT, "%.3g %s", seconds / units[i].unit, units[i].name);
  return text;
}

static void add_tick(apq__plot *plot, int is_x, double value, const char *label) {
  double at = is_x ? place_x(plot, value) : place_y(plot, value);
  if (is_x)
    apq__text_add(plot->out, "<path class=\"grid\" d=\"M%.1f %dV%d\"/>", at, TOP, BOTTOM);
  else
    apq__text_add(plot->out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>", LEFT, at, RIGHT);
  if (is_x && label)
    apq__text_add(plot->out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>", at,
                  BOTTOM + 16, label);
  else if (label)
    apq__text_add(plot->out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>", LEFT - 6,
                  at + 4, label);
}

/* Whether a label fits at `at`, given where the last one stands. */
static int has_room(int is_x, double at, double last) {
  return fabs(at - last) >= (is_x ? X_LABEL : Y_LABEL);
}

/* Ticks of each decade, for axes whose ends are more than `range` apart; the last gives three in a
 * factor of 2, the least that there is. */
static const struct {
  double range;
  int count;
  double step[10];
} tick_sets[] = {{1000, 1, {1}}, {10, 3, {1, 2, 5}}, {0, 10, {1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8}}};

static void add_time_ticks(apq__plot *plot, int is_x) {
  const apq__axis *axis = is_x ? &plot->x : &plot->y;
  double last = -WIDTH;
  int set = 0;
  while (axis->high / axis->low <= tick_sets[set].range) set++;
  for (int decade = (int)floor(log10(axis->low)); decade <= log10(axis->high); decade++)
    for (int i = 0; i < tick_sets[set].count; i++) {
      char text[TICK_TEXT];
      double value = tick_sets[set].step[i] * pow(10, decade);
      if (value < axis->low || value > axis->high) continue;
      double at = is_x ? place_x(plot, value) : place_y(plot, value);
      int is_labeled = has_room(is_x, at, last);
      add_tick(plot, is_x, value, is_labeled ? time_label(value, text) : NULL);
      if (is_labeled) last = at;
    }
}

static void add_number_ticks(apq__plot *plot, int is_x) {
  const apq__axis *axis = is_x ? &plot->x : &plot->y;
  double last = -WIDTH;
  for (int i = 0; i < axis->tick_count; i++) {
    char text[TICK_TEXT];
    double at = is_x ? place_x(plot, axis->ticks[i]) : place_y(plot, axis->ticks[i]);
    int is_labeled = has_room(is_x, at, last);
    snprintf(text, sizeof text, "%d", axis->ticks[i]);
    add_tick(plot, is_x, axis->ticks[i], is_labeled ? text : NULL);
    if (is_labeled) last = at;
  }
}

void apq__plot_begin(apq__plot *plot, apq__text *out, const char *title, const apq__axis *x,
                     const apq__axis *y) {
  *plot = (apq__plot){out, *x, *y};
  widen(&plot->x);
  widen(&plot->y);
  apq__text_add(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\"><title>", WIDTH, HEIGHT);
  apq__html_add_text(out, title);
  apq__text_add(out, "</title>");
  for (int is_x = 0; is_x < 2; is_x++) {
    if ((is_x ? x : y)->is_time)
      add_time_ticks(plot, is_x);
    else
      add_number_ticks(plot, is_x);
  }
  apq__text_add(out, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>", LEFT,
                TOP, RIGHT - LEFT, BOTTOM - TOP);
  apq__text_add(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (LEFT + RIGHT) / 2,
                HEIGHT - 8);
  apq__html_add_text(out, x->label);
  apq__text_add(out,
                "</text><text transform=\"translate(12 %d) rotate(-90)\" text-anchor=\"middle\">",
                (TOP + BOTTOM) / 2);
  apq__html_add_text(out, y->label);
  apq__text_add(out, "</text>\n");
}

void apq__plot_end(apq__plot *plot) {
  apq__text_add(plot->out, "</svg>\n");
}

/* ---- content ---- */

/* Outlines about the origin, 8 pixels across, so that styles differ without their colors. */
static const char *const outline[APQ__PLOT_STYLES] = {
    "M-4 0A4 4 0 1 1 4 0A4 4 0 1 1 -4 0Z",
    "M-3.6 -3.6H3.6V3.6H-3.6Z",
    "M0 -4.6L4.4 3.6H-4.4Z",
    "M0 -5L5 0L0 5L-5 0Z",
    "M0 4.6L4.4 -3.6H-4.4Z",
    "M-1.5 -4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5V-1.5H-1.5Z",
    "M0 -4.8L4.6 -1.5L2.8 3.9H-2.8L-4.6 -1.5Z",
    "M-2 0L-4.5 -2.5L-2.5 -4.5L0 -2L2.5 -4.5L4.5 -2.5L2 0L4.5 2.5L2.5 4.5L0 2L-2.5 4.5L-4.5 2.5Z",
};

void apq__plot_point(apq__plot *plot, int style, double x, double y, int is_ringed,
                     const char *title) {
  apq__text *out = plot->out;
  apq__text_add(out, "<g class=\"f%d\" transform=\"translate(%.1f %.1f)\"><title>", style,
                place_x(plot, x), place_y(plot, y));
  apq__html_add_text(out, title);
  apq__text_add(out, "</title>%s<path class=\"mark\" d=\"%s\"/></g>\n",
                is_ringed ? "<circle class=\"ring\" r=\"8\"/>" : "", outline[style]);
}

void apq__plot_line(apq__plot *plot, int style, double from_x, double from_y, double to_x,
                    double to_y) {
  apq__text_add(plot->out, "<path class=\"line f%d\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", style,
                place_x(plot, from_x), place_y(plot, from_y), place_x(plot, to_x),
                place_y(plot, to_y));
}

void apq__plot_guide(apq__plot *plot, double x) {
  apq__text_add(plot->out, "<path class=\"guide\" d=\"M%.1f %dV%d\"/>\n", place_x(plot, x), TOP,
                BOTTOM);
}

void apq__plot_diagonal(apq__plot *plot) {
  double low = fmax(plot->x.low, plot->y.low), high = fmin(plot->x.high, plot->y.high);
  if (low >= high) return;
  apq__text_add(plot->out, "<path class=\"guide\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n",
                place_x(plot, low), place_y(plot, low), place_x(plot, high), place_y(plot, high));
}

void apq__plot_band(apq__plot *plot, int style, double from, double to, const char *title) {
  double left = from > 0 ? place_x(plot, from) : LEFT, right = to > 0 ? place_x(plot, to) : RIGHT;
  apq__text_add(plot->out,
                "<rect class=\"band f%d\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"><title>",
                style, left, TOP - BAND - 2, right - left, BAND);
  apq__html_add_text(plot->out, title);
  apq__text_add(plot->out, "</title></rect>\n");
}

void apq__plot_marker(apq__text *out, int style) {
  apq__text_add(
      out, "<svg class=\"key f%d\" viewBox=\"-6 -6 12 12\"><path class=\"mark\" d=\"%s\"/></svg>",
      style, outline[style]);
}
