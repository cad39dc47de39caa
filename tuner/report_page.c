#include "report_page.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "generator.h"
#include "html_text.h"
#include "report_plots.h"
#include "svg_plot.h"

/* Color vision deficiencies leave these apart, and every style has its own marker besides. */
static const char style_sheet[] =
    ":root{color-scheme:light dark;--page:#fff;--text:#1b1f24;--soft:#57606a;--line:#d0d7de;"
    "--grid:#eaeef2;--c0:#0072b2;--c1:#d55e00;--c2:#00805e;--c3:#a3338a;--c4:#8a6a00;--c5:#4b4bc8;"
    "--c6:#b3303a;--c7:#6e7781}\n"
    "@media (prefers-color-scheme:dark){:root{--page:#0d1117;--text:#e6edf3;--soft:#9aa5b1;"
    "--line:#3d444d;--grid:#21262d;--c0:#56b4e9;--c1:#ff9350;--c2:#3fcf9f;--c3:#e48fd2;--c4:#"
    "e3c34a;"
    "--c5:#9d9dff;--c6:#ff8088;--c7:#9aa5b1}}\n"
    "body{background:var(--page);color:var(--text);font:15px/1.5 system-ui,sans-serif;margin:0 "
    "auto;"
    "max-width:1180px;padding:1.5rem}\n"
    "h1,h2,h3{line-height:1.25}h3{margin-bottom:.2rem}\n"
    ".wide{overflow-x:auto}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}\n"
    "th,td{border-bottom:1px solid var(--line);padding:.25rem .7rem .25rem 0;text-align:left;"
    "vertical-align:top}\n"
    "th{white-space:nowrap}th.n,td.n{text-align:right;white-space:nowrap}\n"
    "code{font:13px ui-monospace,monospace}\n"
    ".soft,figcaption{color:var(--soft);font-size:.87rem}\n"
    ".pair{display:flex;flex-wrap:wrap;gap:1rem}figure{flex:1 1 420px;margin:0;max-width:580px}\n"
    "svg{display:block;width:100%;height:auto}\n"
    "svg text{fill:var(--soft);font:11px system-ui,sans-serif}\n"
    ".frame{fill:none;stroke:var(--line)}.grid{stroke:var(--grid)}\n"
    ".guide{stroke:var(--soft);stroke-dasharray:4 4;opacity:.7}\n"
    ".mark{fill:var(--c);stroke:var(--page);stroke-width:.6}.band{fill:var(--c)}\n"
    ".line{fill:none;stroke:var(--c);stroke-width:1.5;opacity:.75}\n"
    ".ring{fill:none;stroke:var(--text);stroke-width:1.2}\n"
    ".key{display:inline-block;width:.9em;height:.9em;vertical-align:-.1em}\n"
    ".legend span{margin-right:1.2rem;white-space:nowrap}\n"
    ".f0{--c:var(--c0)}.f1{--c:var(--c1)}.f2{--c:var(--c2)}.f3{--c:var(--c3)}.f4{--c:var(--c4)}"
    ".f5{--c:var(--c5)}.f6{--c:var(--c6)}.f7{--c:var(--c7)}\n";

/* ---- cells ---- */

static void add_cell(apq__text *page, const char *text) {
  apq__text_add(page, "<td>");
  apq__html_add_text(page, text);
  apq__text_add(page, "</td>");
}

static void add_number(apq__text *page, int digits, double value) {
  char text[32];
  apq__text_add(page, "<td class=\"n\">%s</td>", apq__print_fixed(value, digits, text));
}

/* A header that begins with '>' (not printed) is of a column of numbers. */
static void begin_table(apq__text *page, const char *const *headers) {
  apq__text_add(page, "<div class=\"wide\"><table><thead><tr>");
  for (int i = 0; headers[i]; i++) {
    int is_right = headers[i][0] == '>';
    apq__text_add(page, "<th%s>%s</th>", is_right ? " class=\"n\"" : "", headers[i] + is_right);
  }
  apq__text_add(page, "</tr></thead><tbody>\n");
}

static void end_table(apq__text *page) {
  apq__text_add(page, "</tbody></table></div>\n");
}

static void add_date(apq__text *page, int64_t unix_time) {
  time_t seconds = (time_t)unix_time;
  struct tm date;
  char text[32];
  if (!gmtime_r(&seconds, &date) || !strftime(text, sizeof text, "%Y-%m-%d", &date)) text[0] = 0;
  apq__text_add(page, "%s", text);
}

/* ---- environments ---- */

static int is_same_environment(const apq__environment *a, const apq__environment *b) {
  return strcmp(a->gpu, b->gpu) == 0 && strcmp(a->arch, b->arch) == 0 &&
         strcmp(a->driver, b->driver) == 0 && strcmp(a->compiler, b->compiler) == 0 &&
         a->sm_count == b->sm_count && a->emulated == b->emulated;
}

/* The row of entry `first`, the first of its environment. */
static void add_environment(apq__text *page, const apq__report *report, int first) {
  const apq__environment *e = &report->entry[first].winner.environment;
  int64_t low = report->entry[first].winner.measurement.unix_time, high = low;
  int problems = 0;
  for (int i = first; i < report->count; i++) {
    if (!is_same_environment(&report->entry[i].winner.environment, e)) continue;
    int64_t when = report->entry[i].winner.measurement.unix_time;
    if (when < low) low = when;
    if (when > high) high = when;
    problems++;
  }
  apq__text_add(page, "<tr>");
  add_cell(page, e->gpu);
  add_cell(page, e->arch);
  add_number(page, 0, e->sm_count);
  add_cell(page, e->driver);
  add_cell(page, e->compiler);
  add_cell(page, e->emulated ? "modelled, by the cost model" : "measured");
  add_number(page, 0, problems);
  apq__text_add(page, "<td>");
  add_date(page, low);
  if (low / 86400 != high / 86400) {
    apq__text_add(page, " to ");
    add_date(page, high);
  }
  apq__text_add(page, "</td></tr>\n");
}

static void add_environments(apq__text *page, const apq__report *report) {
  static const char *const headers[] = {"GPU",   "arch",      ">SMs", "driver", "compiler",
                                        "times", ">problems", "date", NULL};
  apq__text_add(page, "<h2>Environment</h2>\n");
  begin_table(page, headers);
  for (int i = 0; i < report->count; i++) {
    int first = 0;
    while (!is_same_environment(&report->entry[first].winner.environment,
                                &report->entry[i].winner.environment))
      first++;
    if (first == i) add_environment(page, report, i);
  }
  end_table(page);
}

/* ---- winners ---- */

static void add_winner(apq__text *page, const apq__report_entry *entry) {
  const apq__winner *winner = &entry->winner;
  const apq__measurement *m = &winner->measurement;
  const char *family = apq__config_get(&winner->variant.config, "family");
  char text[APQ__KEY_MAX];
  apq__text_add(page, "<tr>");
  add_cell(page, winner->environment.gpu);
  add_cell(page, apq__print_problem(&winner->problem, text));
  apq__text_add(page, "<td>");
  apq__html_add_text(page, m->modelled ? "modelled" : m->objective);
  apq__text_add(page, "%s</td>", entry->is_current ? "" : ", old");
  add_number(page, 0, entry->count);
  apq__text_add(page, "<td class=\"n\">%s</td>", apq__print_time(m->p50, text));
  add_number(page, 1, apq__report_tops(entry));
  add_number(page, 2, entry->correlation);
  add_number(page, 0, entry->place ? (double)entry->place : NAN);
  add_number(page, 2, entry->choice_ratio);
  apq__text_add(page, "<td>");
  apq__plot_marker(page, apq__report_style(family ? family : ""));
  apq__text_add(page, " <code>");
  apq__html_add_text(page, apq__print_config(&winner->variant.config, text));
  apq__text_add(page, "</code></td></tr>\n");
}

static void add_winners(apq__text *page, const apq__report *report) {
  static const char *const headers[] = {
      "GPU",          "problem", "objective",     ">kernels", ">time", ">TOPS",
      ">correlation", ">place",  ">first choice", "kernel",   NULL};
  int old = 0;
  apq__text_add(page, "<h2>Winners</h2>\n");
  begin_table(page, headers);
  for (int i = 0; i < report->count; i++) {
    add_winner(page, &report->entry[i]);
    old += !report->entry[i].is_current;
  }
  end_table(page);
  apq__text_add(page,
                "<p class=\"soft\">Kernels: those of the run that gave the winner. Correlation: "
                "Spearman's, of their modelled and measured times. Place: the winner's in the "
                "model's order. First choice: time of the kernel that the model puts first, times "
                "the winner's.%s</p>\n",
                old ? " Old: the kernel's template has changed since; dispatch does not use it."
                    : "");
}

/* ---- plots ---- */

static void add_legend(apq__text *page, const apq__report *report) {
  char seen[APQ__PLOT_STYLES] = {0};
  apq__text_add(page, "<h2>Plots</h2>\n<p class=\"legend\">");
  for (int i = 0; i < report->count; i++)
    for (int k = 0; k < report->entry[i].count; k++) {
      const char *family = report->entry[i].kernel[k].family;
      int style = apq__report_style(family);
      if (seen[style]) continue;
      seen[style] = 1;
      apq__text_add(page, "<span>");
      apq__plot_marker(page, style);
      apq__text_add(page, " %s</span>", style == APQ__PLOT_STYLES - 1 ? "others" : family);
    }
  apq__text_add(page, "</p>\n<p class=\"soft\">Point at a marker to read its kernel.</p>\n");
}

static void add_group(apq__text *page, const apq__report_entry *entry, int count) {
  const apq__problem *p = &entry->winner.problem;
  const apq__environment *e = &entry->winner.environment;
  const apq__measurement *m = &entry->winner.measurement;
  apq__text_add(page, "<section><h3>W%dA%d, n = %d, k = %d, %s", p->p, p->q, p->n, p->k,
                apq_dtype_name(p->out));
  if (p->group) apq__text_add(page, ", groups of %d", p->group);
  if (p->in) apq__text_add(page, ", from %s", apq__input_name(p->in));
  if (count == 1) apq__text_add(page, ", m = %d", p->m);
  apq__text_add(page, "</h3>\n<p class=\"soft\">");
  apq__html_add_text(page, e->gpu);
  apq__text_add(page, ", ");
  apq__html_add_text(page, m->modelled ? "modelled" : m->objective);
  apq__text_add(page, "</p>\n<div class=\"pair\">\n");
  if (count > 1) apq__report_plot_sweep(entry, count, page);
  apq__report_plot_model(entry, count, page);
  apq__text_add(page, "</div></section>\n");
}

static void add_plots(apq__text *page, const apq__report *report) {
  add_legend(page, report);
  for (int i = 0, next; i < report->count; i = next) {
    for (next = i + 1; next < report->count &&
                       apq__report_is_same_group(&report->entry[i], &report->entry[next]);)
      next++;
    add_group(page, &report->entry[i], next - i);
  }
}

void apq__report_page(const apq__report *report, const char *database, apq__text *page) {
  apq__text_add(page,
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"/>"
                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>"
                "<title>apq report</title>\n<style>\n%s</style></head>\n<body>\n",
                style_sheet);
  apq__text_add(page, "<h1>apq report</h1>\n<p class=\"soft\">apq-tune %s, database <code>",
                apq_version());
  apq__html_add_text(page, database);
  apq__text_add(page, "</code></p>\n");
  add_environments(page, report);
  add_winners(page, report);
  add_plots(page, report);
  apq__text_add(page, "</body>\n</html>\n");
}
