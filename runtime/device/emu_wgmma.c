#include "emu_impl.h"

#include <string.h>

#include "alloc.h"

/* Matrix products of warpgroups.  Each lane leaves what it asks for and goes on; its sums are taken
 * away from it meanwhile.  When a warp waits, it makes its 16 rows of the products that the wait
 * covers.  The first of the four warps to do so reads the operands for all. */

enum {
  ROWS = 64,      /* of A */
  WARP_ROWS = 16, /* of a warp */
  ROW_BYTES = 32, /* of K that one instruction takes */
  N_MAX = 256,
  CHUNK = 16,
  CORE = 8 * CHUNK, /* of eight rows: a core matrix, where nothing is swizzled */
  OPERANDS = 8,     /* in registers, of a lane: so many are remembered */
};
static const int poison = 0x5eedbad5;

/* What a thread asks for, and all of its warpgroup with it. */
typedef struct instruction {
  int line, kind, n, accumulate, has_registers;
  apq_u64 a, b;
} instruction;

typedef struct product {
  instruction is;
  int issued, made; /* by so many warps */
  int is_read;
  uint32_t op;
  apq__emu_needs needs;
  uint8_t rows[ROWS][ROW_BYTES];
  uint32_t columns[16 * N_MAX];
} product;

typedef struct apq__emu_group_products {
  product **list; /* issued and not made by all; number `first` + i is at i */
  int first, count, capacity;
  product *spare[64];
  int spare_count;
} apq__emu_group_products;

/* Sums that products are on their way to. */
typedef struct sums {
  int n, pending; /* products */
  int *d[APQ__EMU_LANES];
  int fences[APQ__EMU_LANES]; /* of each lane when they were last given back */
  uint32_t at[WARP_ROWS * N_MAX];
} sums;

/* One instruction of a warp. */
typedef struct request {
  int group;    /* commit group */
  int came;     /* lanes */
  int is_first; /* of those pending on its sums */
  sums *to;
  apq__emu_view view; /* of the lane that came last */
  uint32_t a[APQ__EMU_LANES][4];
  const uint32_t *a_at[APQ__EMU_LANES];
} request;

/* What a lane's operand registers held when they were last used. */
typedef struct operand {
  const uint32_t *at;
  uint32_t v[4];
  int fences; /* of the lane then */
} operand;

typedef struct apq__emu_warp_products {
  request *list; /* issued and not waited for; number `first` + i is at i */
  int first, count, capacity;
  int awaited, awaited_line; /* commit groups that the latest wait covers, and where it stands */
  int is_waiting;            /* for other warps to issue the same */
  sums **sums;
  int sums_count, sums_capacity;
  operand operands[APQ__EMU_LANES][OPERANDS]; /* as a ring */
  int next_operand[APQ__EMU_LANES];
} apq__emu_warp_products;

static void *need_memory(apq__emu *emu, int line, void *memory) {
  if (!memory) apq__emu_fault(emu, line, "no memory to emulate wgmma");
  return memory;
}

/* ---- descriptors ---- */

static int swizzle_of(apq_u64 desc) {
  static const int widths[4] = {0, 128, 64, 32};
  return widths[desc >> 62];
}

static apq_u64 wgmma_desc(apq_emu *words, int line, int at, int swizzle) {
  apq__emu *emu = apq__emu_of(words);
  if (swizzle != 32 && swizzle != 64 && swizzle != 128)
    apq__emu_fault(emu, line, "wgmma_desc with swizzle %d: 32, 64 and 128 are followed", swizzle);
  if (at < 0 || at >= emu->shared_size || at % (8 * swizzle))
    apq__emu_fault(
        emu, line,
        "wgmma_desc of offset %d with swizzle %d: a multiple of %d inside the block's %d "
        "bytes is wanted",
        at, swizzle, 8 * swizzle, emu->shared_size);
  apq_u64 code = swizzle == 128 ? 1 : swizzle == 64 ? 2 : 3;
  return (apq_u64)at >> 4 | (apq_u64)1 << 16 | (apq_u64)(8 * swizzle >> 4) << 32 | code << 62;
}

/* The fields in bytes: where it begins, from eight rows to the next, and along K from a core matrix
 * to the next. */
static int start_of(apq_u64 desc) {
  return (int)(desc & 0x3fff) << 4;
}
static int groups_of(apq_u64 desc) {
  return (int)(desc >> 32 & 0x3fff) << 4;
}
static int leading_of(apq_u64 desc) {
  return (int)(desc >> 16 & 0x3fff) << 4;
}

static apq_u64 wgmma_desc_plain(apq_emu *words, int line, int at, int leading) {
  apq__emu *emu = apq__emu_of(words);
  if (at < 0 || at >= emu->shared_size || at % CHUNK)
    apq__emu_fault(emu, line,
                   "wgmma_desc_plain of offset %d: a multiple of 16 inside the block's %d bytes is "
                   "wanted",
                   at, emu->shared_size);
  if (leading < CORE || leading >= emu->shared_size || leading % CHUNK)
    apq__emu_fault(emu, line,
                   "wgmma_desc_plain of core matrices %d bytes apart: a multiple of 16 from %d to "
                   "the block's %d is wanted",
                   leading, CORE, emu->shared_size);
  return (apq_u64)at >> 4 | (apq_u64)leading >> 4 << 16 | (apq_u64)CORE >> 4 << 32;
}

static void check_inside(apq__emu *emu, int line, const char *name, int start, int end) {
  if (end > emu->shared_size)
    apq__emu_fault(emu, line, "wgmma: %s at offset %d ends at %d, outside the block's %d bytes",
                   name, start, end, emu->shared_size);
}

static void check_plain(apq__emu *emu, int line, const char *name, apq_u64 desc, int rows) {
  int start = start_of(desc), leading = leading_of(desc), column = rows / 8 * CORE;
  if (leading < column)
    apq__emu_fault(emu, line,
                   "wgmma: the core matrices of %s are %d bytes apart along K, where %d rows of "
                   "them take %d",
                   name, leading, rows, column);
  check_inside(emu, line, name, start, start + leading * (ROW_BYTES / CHUNK - 1) + column);
}

static void check_desc(apq__emu *emu, int line, const char *name, apq_u64 desc, int rows) {
  int swizzle = swizzle_of(desc), start = start_of(desc), groups = groups_of(desc);
  if ((!swizzle && groups != CORE) || (desc >> 49 & 7))
    apq__emu_fault(emu, line, "wgmma: 0x%llx for %s is no descriptor of wgmma_desc", desc, name);
  if (!swizzle) {
    check_plain(emu, line, name, desc, rows);
    return;
  }
  int inside = start % swizzle, end = start - inside + (rows / 8 - 1) * groups + 8 * swizzle;
  if ((start - inside) % (8 * swizzle))
    apq__emu_fault(
        emu, line,
        "wgmma: %s begins at offset %d, which is not a multiple of %d and a part of a row", name,
        start, 8 * swizzle);
  if (inside + ROW_BYTES > swizzle)
    apq__emu_fault(emu, line,
                   "wgmma: %s begins %d bytes into its rows of %d, which leaves less than %d", name,
                   inside, swizzle, ROW_BYTES);
  check_inside(emu, line, name, start, end);
}

/* Where 16-byte chunk `chunk` of row `row` lies. */
static int chunk_at(apq_u64 desc, int row, int chunk) {
  int swizzle = swizzle_of(desc), at = start_of(desc) + row / 8 * groups_of(desc);
  if (!swizzle) return at + row % 8 * CHUNK + chunk * leading_of(desc);
  at += row % 8 * swizzle + chunk * CHUNK;
  return at ^ (at >> 7 & (swizzle / CHUNK - 1)) * CHUNK;
}

/* Reads the rows of an operand, in order. */
static void read_operand(apq__emu *emu, const apq__emu_view *view, product *what, const char *name,
                         apq_u64 desc, int rows, uint8_t (*out)[ROW_BYTES]) {
  int slot = view->thread / APQ__EMU_LANES / APQ__EMU_GROUP_WARPS;
  apq__emu_block *block = emu->block;
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < ROW_BYTES / CHUNK; c++) {
      int at = chunk_at(desc, r, c);
      apq__emu_gather_needs(emu, view, block, (apq__emu_deed){what->is.line, name, at, CHUNK},
                            what->op, slot, &what->needs);
      memcpy(out[r] + c * CHUNK, block->shared + at, CHUNK);
    }
  }
}

/* ---- issue ---- */

static void check_instruction(apq__emu *emu, const instruction *is) {
  int group = emu->current->warp->index / APQ__EMU_GROUP_WARPS;
  if ((group + 1) * APQ__EMU_GROUP_WARPS * APQ__EMU_LANES > emu->thread_count)
    apq__emu_fault(emu, is->line, "wgmma in a warpgroup of only %d threads",
                   emu->thread_count - group * APQ__EMU_GROUP_WARPS * APQ__EMU_LANES);
  if (is->n < 16 || is->n > N_MAX || is->n % 16)
    apq__emu_fault(emu, is->line, "wgmma of %d columns: a multiple of 16 from 16 to 256 is wanted",
                   is->n);
  if (!is->has_registers) check_desc(emu, is->line, "A", is->a, ROWS);
  check_desc(emu, is->line, "B", is->b, is->n);
}

static apq__emu_group *group_of(apq__emu *emu, const apq__emu_warp *warp) {
  return &emu->block->groups[warp->index / APQ__EMU_GROUP_WARPS];
}

static product *add_product(apq__emu *emu, int line, apq__emu_group_products *all) {
  if (all->count == all->capacity) {
    int capacity = all->capacity ? 2 * all->capacity : 16;
    all->list = need_memory(emu, line, apq__realloc(all->list, (size_t)capacity * sizeof(void *)));
    all->capacity = capacity;
  }
  product *added;
  if (all->spare_count)
    added = all->spare[--all->spare_count];
  else
    added = need_memory(emu, line, apq__calloc(1, sizeof *added));
  added->issued = added->made = added->is_read = 0;
  return all->list[all->count++] = added;
}

static int is_same(const instruction *x, const instruction *y) {
  return x->line == y->line && x->kind == y->kind && x->n == y->n &&
         x->accumulate == y->accumulate && x->has_registers == y->has_registers && x->a == y->a &&
         x->b == y->b;
}

/* Product `number` of the warpgroup, the same for all its threads. */
static product *agree(apq__emu *emu, int number, const instruction *wanted) {
  apq__emu_group *group = group_of(emu, emu->current->warp);
  if (!group->products)
    group->products = need_memory(emu, wanted->line, apq__calloc(1, sizeof *group->products));
  apq__emu_group_products *all = group->products;
  if (number == all->first + all->count) {
    check_instruction(emu, wanted);
    product *added = add_product(emu, wanted->line, all);
    added->is = *wanted;
    return added;
  }
  product *same = all->list[number - all->first];
  if (!is_same(&same->is, wanted))
    apq__emu_fault(emu, wanted->line,
                   "wgmma, where another thread of the warpgroup issues another one, at line %d: "
                   "divergent",
                   same->is.line);
  return same;
}

/* The sums that this lane's d stands for: those with products on their way, or any others. */
static sums *find_sums(apq__emu *emu, int line, apq__emu_warp_products *own, int lane, int *d) {
  sums *idle = NULL;
  for (int i = 0; i < own->sums_count; i++) {
    sums *at = own->sums[i];
    if (at->d[lane] == d) return at;
    if (!at->pending) idle = at;
  }
  if (idle && own->sums_count >= 64) return idle;
  if (own->sums_count == own->sums_capacity) {
    int capacity = own->sums_capacity ? 2 * own->sums_capacity : 8;
    own->sums = need_memory(emu, line, apq__realloc(own->sums, (size_t)capacity * sizeof(void *)));
    own->sums_capacity = capacity;
  }
  sums *added = need_memory(emu, line, apq__calloc(1, sizeof *added));
  return own->sums[own->sums_count++] = added;
}

static request *add_request(apq__emu *emu, int line, apq__emu_warp_products *own, int lane,
                            int *d) {
  if (own->count == own->capacity) {
    int capacity = own->capacity ? 2 * own->capacity : 16;
    own->list =
        need_memory(emu, line, apq__realloc(own->list, (size_t)capacity * sizeof *own->list));
    own->capacity = capacity;
  }
  request *added = &own->list[own->count++];
  *added =
      (request){.group = emu->current->product_groups, .to = find_sums(emu, line, own, lane, d)};
  added->is_first = added->to->pending++ == 0;
  return added;
}

/* No other sums on their way are in these registers. */
static void check_overlap(apq__emu *emu, int line, const apq__emu_warp_products *own, int lane,
                          const sums *to, const int *d, int n) {
  for (int i = 0; i < own->sums_count; i++) {
    const sums *other = own->sums[i];
    if (other == to || !other->pending || !other->d[lane]) continue;
    if (other->d[lane] < d + n / 2 && d < other->d[lane] + other->n / 2)
      apq__emu_fault(emu, line, "wgmma: d overlaps the sums of another one that is still pending");
  }
}

/* The places of a lane's sums in its warp's 16 rows. */
static uint32_t *place_of(sums *at, int lane, int j, int half) {
  return at->at + (lane / 4 + 8 * half) * at->n + 8 * j + 2 * (lane % 4);
}

static void take_sums(apq__emu *emu, int line, const product *what, sums *to, int lane, int *d) {
  int fences = emu->current->product_fences;
  if (fences == 0 || (to->d[lane] == d && fences == to->fences[lane]))
    apq__emu_fault(emu, line, "wgmma with no wgmma_fence since its sums %s",
                   fences ? "were last waited for" : "were written");
  to->d[lane] = d;
  to->n = what->is.n;
  for (int j = 0; j < what->is.n / 8 && what->is.accumulate; j++)
    for (int half = 0; half < 2; half++)
      memcpy(place_of(to, lane, j, half), d + 4 * j + 2 * half, 2 * sizeof *d);
  for (int i = 0; i < what->is.n / 2; i++) d[i] = poison;
}

static void finish_waits(apq__emu *emu, const apq__emu_warp *warp);

/* A lane's operand in registers; a fence stands between its last use and its new value. */
static void take_operand(apq__emu *emu, int line, apq__emu_warp_products *own, request *at,
                         const apq_u32 *registers) {
  const apq__emu_thread *self = emu->current;
  int lane = self->lane, i = 0;
  operand *old = own->operands[lane];
  while (i < OPERANDS && old[i].at != registers) i++;
  if (i == OPERANDS) i = own->next_operand[lane]++ % OPERANDS;
  if (old[i].at == registers && old[i].fences == self->product_fences &&
      memcmp(old[i].v, registers, sizeof old[i].v) != 0)
    apq__emu_fault(emu, line, "wgmma with no wgmma_fence since its A registers were written");
  old[i].at = at->a_at[lane] = registers;
  old[i].fences = self->product_fences;
  memcpy(old[i].v, registers, sizeof old[i].v);
  memcpy(at->a[lane], registers, sizeof at->a[lane]);
}

static void wgmma(apq_emu *words, int line, int kind, int n, int *d, const apq_u32 *a_registers,
                  apq_u64 a, apq_u64 b, int accumulate) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_thread *self = emu->current;
  apq__emu_warp *warp = self->warp;
  int number = self->products++, lane = self->lane;
  const instruction is = {line, kind, n, accumulate != 0, a_registers != NULL, a, b};
  product *what = agree(emu, number, &is);
  if (!warp->products)
    warp->products = need_memory(emu, line, apq__calloc(1, sizeof *warp->products));
  apq__emu_warp_products *own = warp->products;
  request *at = number == own->first + own->count ? add_request(emu, line, own, lane, d)
                                                  : &own->list[number - own->first];
  if (at->group != self->product_groups)
    apq__emu_fault(emu, line, "wgmma after another number of wgmma_commit than another lane's");
  check_overlap(emu, line, own, lane, at->to, d, n);
  if (at->is_first)
    take_sums(emu, line, what, at->to, lane, d);
  else if (at->to->d[lane] != d || at->to->n != n)
    apq__emu_fault(emu, line, "wgmma: d is not the sums that other lanes add to");
  if (a_registers) take_operand(emu, line, own, at, a_registers);
  if (++at->came < APQ__EMU_LANES) return;
  at->view = apq__emu_view_now(emu);
  at->view.before = apq__emu_tick(emu);
  apq__emu_share(self->known);
  if (++what->issued == APQ__EMU_GROUP_WARPS) finish_waits(emu, warp);
}

static void wgmma_fence(apq_emu *words, int line) {
  (void)line;
  apq__emu_of(words)->current->product_fences++;
}

static void wgmma_commit(apq_emu *words, int line) {
  (void)line;
  apq__emu_of(words)->current->product_groups++;
}

/* ---- completion ---- */

static void read_operands(apq__emu *emu, const apq__emu_view *view, product *what) {
  uint8_t columns[N_MAX][ROW_BYTES];
  what->is_read = 1;
  apq__emu_begin_async(emu);
  what->op = apq__emu_add_op(emu, (apq__emu_op){
                                      .kind = APQ__EMU_PRODUCT,
                                      .rank = (uint8_t)emu->block->rank,
                                      .issuer = (uint8_t)emu->block->rank,
                                      .thread = (uint16_t)view->thread,
                                      .line = what->is.line,
                                  });
  apq__emu_clear_needs(emu, &what->needs);
  if (!what->is.has_registers)
    read_operand(emu, view, what, "wgmma's read of A", what->is.a, ROWS, what->rows);
  read_operand(emu, view, what, "wgmma's read of B", what->is.b, what->is.n, columns);
  (what->is.kind == APQ_EMU_U8 ? emu->math.turn_u8 : emu->math.turn_b1)(
      (const uint8_t(*)[ROW_BYTES])columns, what->is.n, what->columns);
}

/* A's 16 rows of the warp. */
static void take_rows(const product *what, const request *at, int warp,
                      uint32_t rows[WARP_ROWS][ROW_BYTES / 4]) {
  if (!what->is.has_registers) {
    memcpy(rows, what->rows[warp * WARP_ROWS], WARP_ROWS * ROW_BYTES);
    return;
  }
  for (int lane = 0; lane < APQ__EMU_LANES; lane++)
    for (int i = 0; i < 4; i++) rows[lane / 4 + i % 2 * 8][lane % 4 + i / 2 * 4] = at->a[lane][i];
}

static void make_product(apq__emu *emu, const apq__emu_warp *warp, product *what, request *at) {
  static const char reads[] = "wgmma's read";
  int index = warp->index % APQ__EMU_GROUP_WARPS;
  uint32_t rows[WARP_ROWS][ROW_BYTES / 4];
  uint8_t bytes[WARP_ROWS][ROW_BYTES];
  if (!what->is_read) read_operands(emu, &at->view, what);
  apq__emu_check_needs(emu, &at->view, emu->block, (apq__emu_deed){what->is.line, reads, 0, 0},
                       &what->needs);
  take_rows(what, at, index, rows);
  if (!what->is.accumulate)
    memset(at->to->at, 0, (size_t)(WARP_ROWS * what->is.n) * sizeof(uint32_t));
  if (what->is.kind == APQ_EMU_U8) {
    memcpy(bytes, rows, sizeof bytes);
    emu->math.wgmma_u8((const uint8_t(*)[ROW_BYTES])bytes, what->columns, what->is.n, at->to->at);
  } else {
    emu->math.wgmma_b1((const uint32_t(*)[ROW_BYTES / 4]) rows, what->columns, what->is.n,
                       at->to->at);
  }
  apq__emu_op *op = apq__emu_op_of(emu, what->op);
  op->is_done = 1;
  op->time[index] = emu->clock;
}

static void check_untouched(apq__emu *emu, const apq__emu_warp *warp, const product *what,
                            const request *at) {
  for (int lane = 0; lane < APQ__EMU_LANES && what->is.has_registers; lane++)
    if (memcmp(at->a[lane], at->a_at[lane], sizeof at->a[lane]) != 0) {
      apq__emu_blame(emu, warp->block, warp->threads[lane].index);
      apq__emu_fault(emu, what->is.line,
                     "wgmma: its A registers were changed before it was waited for");
    }
}

static void give_sums(apq__emu *emu, int line, const apq__emu_warp *warp, sums *from) {
  for (int lane = 0; lane < APQ__EMU_LANES; lane++) {
    int *d = from->d[lane];
    for (int i = 0; i < from->n / 2; i++)
      if (d[i] != poison) {
        apq__emu_blame(emu, warp->block, warp->threads[lane].index);
        apq__emu_fault(emu, line, "wgmma: its sum %d was changed before it was waited for", i);
      }
    for (int j = 0; j < from->n / 8; j++)
      for (int half = 0; half < 2; half++)
        memcpy(d + 4 * j + 2 * half, place_of(from, lane, j, half), 2 * sizeof *d);
    from->fences[lane] = warp->threads[lane].product_fences;
  }
}

/* All four warps have made what is first in the list. */
static void drop_products(apq__emu_group_products *all) {
  int gone = 0;
  while (gone < all->count && all->list[gone]->made == APQ__EMU_GROUP_WARPS) {
    product *old = all->list[gone++];
    if (all->spare_count < (int)(sizeof all->spare / sizeof all->spare[0])) {
      all->spare[all->spare_count++] = old;
    } else {
      apq__free(old->needs.list);
      apq__free(old);
    }
  }
  if (!gone) return;
  all->first += gone;
  all->count -= gone;
  memmove(all->list, all->list + gone, (size_t)all->count * sizeof(void *));
}

static void check_lanes(apq__emu *emu, int line, const apq__emu_warp *warp) {
  const apq__emu_thread *first = &warp->threads[0];
  for (int i = 1; i < APQ__EMU_LANES; i++) {
    const apq__emu_thread *other = &warp->threads[i];
    if (other->products == first->products && other->product_groups == first->product_groups)
      continue;
    apq__emu_fault(emu, line,
                   "wgmma_wait: thread %d has issued %d wgmma and %d wgmma_commit, thread %d has "
                   "issued %d and %d: divergent",
                   first->index, first->products, first->product_groups, other->index,
                   other->products, other->product_groups);
  }
}

/* The warp's products that a wait covers have been issued by the whole warpgroup: none ends before
 * that. */
static int is_issued(const apq__emu_warp_products *own, const apq__emu_group_products *all) {
  for (int i = 0; i < own->count && own->list[i].group < own->awaited; i++)
    if (all->list[own->first + i - all->first]->issued < APQ__EMU_GROUP_WARPS) return 0;
  return 1;
}

/* Makes what a warp, whose lanes are all there, waits for. */
static void finish_wait(apq__emu *emu, apq__emu_warp *warp, apq__emu_group_products *all) {
  apq__emu_warp_products *own = warp->products;
  int done = 0;
  for (; done < own->count && own->list[done].group < own->awaited; done++) {
    request *at = &own->list[done];
    product *what = all->list[own->first + done - all->first];
    make_product(emu, warp, what, at);
    check_untouched(emu, warp, what, at);
    what->made++;
    if (--at->to->pending == 0) give_sums(emu, own->awaited_line, warp, at->to);
    apq__emu_drop(&emu->order, (apq__emu_known *)(uintptr_t)at->view.known);
  }
  if (!done) return;
  own->first += done;
  own->count -= done;
  memmove(own->list, own->list + done, (size_t)own->count * sizeof *own->list);
  drop_products(all);
}

/* For the other warps of this one's group. */
static void finish_waits(apq__emu *emu, const apq__emu_warp *warp) {
  apq__emu_group_products *all = group_of(emu, warp)->products;
  int first = warp->index / APQ__EMU_GROUP_WARPS * APQ__EMU_GROUP_WARPS;
  for (int i = first; i < first + APQ__EMU_GROUP_WARPS; i++) {
    apq__emu_warp *other = &emu->block->warps[i];
    if (!other->products || !other->products->is_waiting || !is_issued(other->products, all))
      continue;
    other->products->is_waiting = 0;
    finish_wait(emu, other, all);
    apq__emu_wake_warp(emu, other);
  }
}

static void wgmma_wait(apq_emu *words, int line, int pending) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_warp *warp = emu->current->warp;
  if (!apq__emu_meet(emu, APQ__EMU_WGMMA_WAIT, line)) return;
  apq__emu_warp_products *own = warp->products;
  check_lanes(emu, line, warp);
  if (own && own->count) {
    apq__emu_group_products *all = group_of(emu, warp)->products;
    own->awaited = emu->current->product_groups - pending;
    own->awaited_line = line;
    if (!is_issued(own, all)) {
      own->is_waiting = 1;
      apq__emu_park(emu, APQ__EMU_WGMMA_WAIT, line);
      return;
    }
    finish_wait(emu, warp, all);
  }
  apq__emu_yield(emu);
}

/* ---- blocks ---- */

void apq__emu_start_products(apq__emu_block *block, int warp_count) {
  for (int i = 0; i < warp_count; i++) {
    apq__emu_warp_products *own = block->warps[i].products;
    if (!own) continue;
    own->first = own->count = own->is_waiting = 0;
    memset(own->operands, 0, sizeof own->operands);
    for (int s = 0; s < own->sums_count; s++) {
      own->sums[s]->pending = 0;
      memset(own->sums[s]->d, 0, sizeof own->sums[s]->d);
    }
  }
  for (int i = 0; i < APQ__EMU_GROUPS; i++) {
    apq__emu_group_products *all = block->groups[i].products;
    if (!all) continue;
    for (int p = 0; p < all->count; p++) all->list[p]->made = APQ__EMU_GROUP_WARPS;
    drop_products(all);
    all->first = 0;
  }
}

void apq__emu_finish_products(apq__emu *emu) {
  const apq__emu_warp *warp = emu->current->warp;
  const apq__emu_warp_products *own = warp->products;
  if (!own || !own->count) return;
  const apq__emu_group_products *all = group_of(emu, warp)->products;
  apq__emu_fault(emu, 0, "exits, while its wgmma of line %d is on its way: no wgmma_wait covers it",
                 all->list[own->first - all->first]->is.line);
}

void apq__emu_compare_products(apq__emu *emu, apq__emu_block *block) {
  for (int i = 0; i + APQ__EMU_GROUP_WARPS <= emu->warp_count; i += APQ__EMU_GROUP_WARPS) {
    const apq__emu_group_products *all = block->groups[i / APQ__EMU_GROUP_WARPS].products;
    if (!all || !all->count) continue;
    for (int w = i; w < i + APQ__EMU_GROUP_WARPS; w++) {
      const apq__emu_warp_products *own = block->warps[w].products;
      if (own && own->first + own->count > all->first) continue;
      apq__emu_blame(emu, block, w * APQ__EMU_LANES);
      apq__emu_fault(emu, 0,
                     "has not issued the wgmma of line %d, which others of its warpgroup have",
                     all->list[0]->is.line);
    }
  }
}

static void free_group(apq__emu_group_products *all) {
  if (!all) return;
  for (int i = 0; i < all->count + all->spare_count; i++) {
    product *gone = i < all->count ? all->list[i] : all->spare[i - all->count];
    apq__free(gone->needs.list);
    apq__free(gone);
  }
  apq__free(all->list);
  apq__free(all);
}

void apq__emu_free_products(apq__emu_block *block, apq__emu_warp *warps, int warp_count) {
  for (int i = 0; block && i < APQ__EMU_GROUPS; i++) free_group(block->groups[i].products);
  for (int i = 0; i < warp_count; i++) {
    apq__emu_warp_products *own = warps[i].products;
    if (!own) continue;
    for (int s = 0; s < own->sums_count; s++) apq__free(own->sums[s]);
    apq__free(own->sums);
    apq__free(own->list);
    apq__free(own);
  }
}

void apq__emu_wgmma_words(apq_emu *words) {
  words->wgmma_desc = wgmma_desc;
  words->wgmma_desc_plain = wgmma_desc_plain;
  words->wgmma_fence = wgmma_fence;
  words->wgmma_commit = wgmma_commit;
  words->wgmma_wait = wgmma_wait;
  words->wgmma = wgmma;
}
