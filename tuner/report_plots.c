#include "report_plots.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "generator.h"
#include "svg_plot.h"

enum { TITLE_MAX = APQ__KEY_MAX + 160 };

int apq__report_style(const char *family) {
  const apq__family *item;
  int style = 0;
  for (int i = 0; (item = apq__family_at(i)); i++) {
    if (!apq__family_is_product(item)) continue;
    if (strcmp(apq__family_name(item), family) == 0 || style == APQ__PLOT_STYLES - 1) return style;
    style++;
  }
  return APQ__PLOT_STYLES - 1; /* of families that are no more */
}

static const char *winner_family(const apq__report_entry *entry) {
  const char *family = apq__config_get(&entry->winner.variant.config, "family");
  return family ? family : "";
}

static void include(apq__axis *axis, double value) {
  if (!(axis->low > 0) || value < axis->low) axis->low = value;
  if (value > axis->high) axis->high = value;
}

static const char *point_title(const apq__report_entry *entry, const apq__report_kernel *kernel,
                               char title[TITLE_MAX]) {
  char measured[16], modelled[16];
  snprintf(title, TITLE_MAX, "m=%d: %s, modelled %s: %s", entry->winner.problem.m,
           apq__print_time(kernel->seconds, measured),
           isnan(kernel->cost) ? "-" : apq__print_time(kernel->cost, modelled), kernel->name);
  return title;
}

/* ---- time over m ---- */

/* The kernel that won, which need not be the first: a tie goes to the smaller key. */
static int find_winner(const apq__report_entry *entry) {
  char key[APQ__KEY_MAX];
  apq__config_key(&entry->winner.variant.config, key);
  int i = 0;
  while (i < entry->count && strcmp(entry->kernel[i].key, key) != 0) i++;
  return i < entry->count ? i : -1;
}

/* The kernel that stands for the family at this m: the winner, or its fastest; -1 without one. */
static int find_best(const apq__report_entry *entry, int style) {
  int winner = find_winner(entry);
  if (winner >= 0 && apq__report_style(entry->kernel[winner].family) == style) return winner;
  for (int i = 0; i < entry->count; i++)
    if (apq__report_style(entry->kernel[i].family) == style) return i;
  return -1;
}

static void add_family(apq__plot *plot, const apq__report_entry *entry, int count, int style) {
  char title[TITLE_MAX];
  double last_m = 0, last_seconds = 0;
  for (int i = 0; i < count; i++) {
    int best = find_best(&entry[i], style), m = entry[i].winner.problem.m;
    if (best < 0) continue;
    double seconds = entry[i].kernel[best].seconds;
    if (last_m > 0) apq__plot_line(plot, style, last_m, last_seconds, m, seconds);
    last_m = m;
    last_seconds = seconds;
  }
  for (int i = 0; i < count; i++) { /* over the lines */
    int best = find_best(&entry[i], style);
    if (best < 0) continue;
    const apq__report_kernel *kernel = &entry[i].kernel[best];
    apq__plot_point(plot, style, entry[i].winner.problem.m, kernel->seconds,
                    best == find_winner(&entry[i]), point_title(&entry[i], kernel, title));
  }
}

/* One family hands over to the next halfway between the last m that it wins and the first that the
 * other does, which is as much as the measurements say. */
static void add_bands(apq__plot *plot, const apq__report_entry *entry, int count) {
  double from = 0;
  for (int i = 0, next; i < count; i = next) {
    char title[64];
    const char *family = winner_family(&entry[i]);
    for (next = i + 1; next < count && strcmp(winner_family(&entry[next]), family) == 0;) next++;
    int first = entry[i].winner.problem.m, last = entry[next - 1].winner.problem.m;
    double to = next < count ? sqrt((double)last * entry[next].winner.problem.m) : 0;
    snprintf(title, sizeof title, first == last ? "%s: m = %d" : "%s: m = %d to %d", family, first,
             last);
    apq__plot_band(plot, apq__report_style(family), from, to, title);
    if (to > 0) apq__plot_guide(plot, to);
    from = to;
  }
}

static void add_sweep_caption(const apq__report_entry *entry, int count, apq__text *page) {
  apq__text_add(page, "<figcaption>Time over m. Fastest:");
  for (int i = 0, next; i < count; i = next) {
    const char *family = winner_family(&entry[i]);
    for (next = i + 1; next < count && strcmp(winner_family(&entry[next]), family) == 0;) next++;
    int first = entry[i].winner.problem.m, last = entry[next - 1].winner.problem.m;
    apq__text_add(page, "%s %s at m = %d", i ? "," : "", family, first);
    if (first != last) apq__text_add(page, " to %d", last);
  }
  apq__text_add(page, ". Lines: the best of each family; rings: winners.</figcaption>\n");
}

void apq__report_plot_sweep(const apq__report_entry *entry, int count, apq__text *page) {
  apq__axis x = {.label = "m (tokens)"}, y = {.label = "median time", .is_time = 1};
  apq__plot plot;
  int *ticks = apq__calloc((size_t)count, sizeof *ticks);
  page->failed |= !ticks;
  if (!ticks) return;
  for (int i = 0; i < count; i++) {
    ticks[i] = entry[i].winner.problem.m;
    include(&x, ticks[i]);
    for (int style = 0; style < APQ__PLOT_STYLES; style++) {
      int best = find_best(&entry[i], style);
      if (best >= 0) include(&y, entry[i].kernel[best].seconds);
    }
  }
  x.ticks = ticks;
  x.tick_count = count;
  apq__text_add(page, "<figure>");
  apq__plot_begin(&plot, page, "Median time over m, both logarithmic", &x, &y);
  add_bands(&plot, entry, count);
  for (int style = 0; style < APQ__PLOT_STYLES; style++) add_family(&plot, entry, count, style);
  apq__plot_end(&plot);
  add_sweep_caption(entry, count, page);
  apq__text_add(page, "</figure>\n");
  apq__free(ticks);
}

/* ---- modelled over measured time ---- */

void apq__report_plot_model(const apq__report_entry *entry, int count, apq__text *page) {
  apq__axis axis = {.is_time = 1};
  apq__plot plot;
  char title[TITLE_MAX];
  for (int i = 0; i < count; i++)
    for (int k = 0; k < entry[i].count; k++) {
      if (isnan(entry[i].kernel[k].cost)) continue;
      include(&axis, entry[i].kernel[k].cost);
      include(&axis, entry[i].kernel[k].seconds);
    }
  if (!(axis.low > 0)) return;
  apq__axis x = axis, y = axis;
  x.label = entry->winner.measurement.modelled ? "stored time" : "measured time";
  y.label = "modelled time";
  apq__text_add(page, "<figure>");
  apq__plot_begin(&plot, page, "Modelled over measured time, both logarithmic", &x, &y);
  apq__plot_diagonal(&plot);
  for (int i = 0; i < count; i++) {
    int winner = find_winner(&entry[i]);
    for (int k = entry[i].count - 1; k >= 0; k--) { /* the fastest on top */
      const apq__report_kernel *kernel = &entry[i].kernel[k];
      if (isnan(kernel->cost)) continue;
      apq__plot_point(&plot, apq__report_style(kernel->family), kernel->seconds, kernel->cost,
                      k == winner, point_title(&entry[i], kernel, title));
    }
  }
  apq__plot_end(&plot);
  apq__text_add(page,
                "<figcaption>Modelled over %s time of every kernel of %s; rings: "
                "winners.</figcaption></figure>\n",
                entry->winner.measurement.modelled ? "stored (modelled)" : "measured",
                count == 1 ? "the run" : "the runs");
}
