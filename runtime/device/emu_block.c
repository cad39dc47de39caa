#include "emu_impl.h"

#include <string.h>

#include "alloc.h"
#include "status.h"

enum { POISON = 0xcd };
#define CLOCK_END ((uint64_t)1 << 62)

/* ---- room ---- */

static apq_status grow(void **list, int *capacity, int needed, size_t size, apq_error *error) {
  if (*capacity >= needed) return APQ_OK;
  char *grown = apq__realloc(*list, (size_t)needed * size);
  if (!grown)
    return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for %d threads", needed);
  memset(grown + (size_t)*capacity * size, 0, (size_t)(needed - *capacity) * size);
  *list = grown;
  *capacity = needed;
  return APQ_OK;
}

static void free_block(apq__emu_block *block) {
  if (!block) return;
  apq__emu_free_products(block, NULL, 0);
  apq__free(block->shared);
  apq__free(block->cells);
  apq__free(block->chunks);
  apq__free(block->mbarrier_at);
  apq__free(block->visited);
  apq__free(block->visited_line);
  apq__free(block);
}

static apq_status make_block(apq__emu *emu, int rank, apq_error *error) {
  if (emu->blocks[rank]) return APQ_OK;
  size_t shared = (size_t)emu->base.target.smem_per_block;
  int is_async = emu->base.target.cc >= 90;
  apq__emu_block *block = apq__calloc(1, sizeof *block);
  if (block) {
    block->rank = rank;
    block->shared = apq__calloc(1, shared);
    block->cells = apq__calloc(shared / 4, sizeof *block->cells);
    block->mbarrier_at = apq__calloc(1, shared / 8);
    if (is_async) block->chunks = apq__calloc(shared / 16, sizeof *block->chunks);
  }
  if (block && block->shared && block->cells && block->mbarrier_at &&
      (block->chunks || !is_async)) {
    emu->blocks[rank] = block;
    return APQ_OK;
  }
  free_block(block);
  return apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for shared memory");
}

/* What only clusters need: who acted on a block from another. */
static apq_status make_visits(apq__emu *emu, apq__emu_block *block, apq_error *error) {
  size_t threads = (size_t)APQ__EMU_CLUSTER * APQ__EMU_THREADS;
  if (emu->cluster == 1 || block->visited_line) return APQ_OK;
  if (!block->visited) block->visited = apq__calloc(threads, sizeof *block->visited);
  block->visited_line = apq__calloc(threads, sizeof *block->visited_line);
  return block->visited && block->visited_line
             ? APQ_OK
             : apq__fail(error, APQ_OUT_OF_MEMORY, "device", "no memory for a cluster");
}

static apq_status ready_fibers(apq__emu *emu, int count, apq_error *error) {
  enum { MAX = APQ__EMU_CLUSTER * APQ__EMU_THREADS };
  if (emu->pool.count >= count) return APQ_OK;
  int grown = 2 * emu->pool.count > count ? 2 * emu->pool.count : count;
  apq__fiber_pool_destroy(&emu->pool);
  return apq__fiber_pool_create(&emu->pool, grown < MAX ? grown : MAX, error);
}

apq_status apq__emu_ready_blocks(apq__emu *emu, apq_error *error) {
  int threads = emu->cluster * emu->thread_count, warps = emu->cluster * emu->warp_count;
  void *thread_list = emu->threads, *warp_list = emu->warps;
  apq_status status = ready_fibers(emu, threads, error);
  if (status == APQ_OK)
    status = grow(&thread_list, &emu->thread_capacity, threads, sizeof *emu->threads, error);
  emu->threads = thread_list;
  if (status == APQ_OK)
    status = grow(&warp_list, &emu->warp_capacity, warps, sizeof *emu->warps, error);
  emu->warps = warp_list;
  for (int i = 0; i < emu->cluster && status == APQ_OK; i++) {
    status = make_block(emu, i, error);
    if (status == APQ_OK) status = make_visits(emu, emu->blocks[i], error);
  }
  return status;
}

void apq__emu_free_blocks(apq__emu *emu) {
  for (int i = 0; i < emu->thread_capacity; i++) {
    apq__emu_thread *thread = &emu->threads[i];
    for (int s = 0; s < thread->store_count; s++) apq__free(thread->stores[s].bytes);
    apq__free(thread->stores);
    apq__free(thread->copies);
  }
  for (int i = 0; i < APQ__EMU_CLUSTER; i++) free_block(emu->blocks[i]);
  apq__emu_free_products(NULL, emu->warps, emu->warp_capacity);
  apq__free(emu->threads);
  apq__free(emu->warps);
  apq__free(emu->ops);
  apq__free(emu->flights);
  apq__free(emu->needs.list);
  apq__emu_order_free(&emu->order);
  apq__fiber_pool_destroy(&emu->pool);
}

/* ---- start ---- */

/* The clock and the numbers of operations only grow, until they cannot. */
static void start_cluster(apq__emu *emu) {
  int is_clock_over = emu->clock >= CLOCK_END, is_count_over = emu->first_op > UINT32_MAX / 2;
  size_t shared = (size_t)emu->base.target.smem_per_block;
  for (int i = 0; i < APQ__EMU_CLUSTER && (is_clock_over || is_count_over); i++) {
    apq__emu_block *block = emu->blocks[i];
    if (block) memset(block->cells, 0, shared / 4 * sizeof *block->cells);
    if (block && block->chunks) memset(block->chunks, 0, shared / 16 * sizeof *block->chunks);
  }
  if (is_clock_over) emu->clock = 0;
  emu->first_op = is_count_over ? 1 : emu->first_op + emu->op_count;
  emu->op_count = 0;
  if (emu->first_op == 0) emu->first_op = 1;
  emu->flight_count = 0;
  emu->cluster_start = apq__emu_tick(emu);
  apq__emu_order_reset(&emu->order);
}

static void start_thread(apq__emu_thread *thread, apq__emu_block *block, int index) {
  for (int i = 0; i < thread->store_count; i++) apq__free(thread->stores[i].bytes);
  apq__emu_thread kept = *thread;
  *thread = (apq__emu_thread){
      .warp = &block->warps[index / APQ__EMU_LANES],
      .index = index,
      .lane = index % APQ__EMU_LANES,
      .copies = kept.copies,
      .capacity = kept.capacity,
      .stores = kept.stores,
      .store_capacity = kept.store_capacity,
  };
}

static void start_warp(apq__emu *emu, apq__emu_warp *warp, apq__emu_block *block, int index) {
  int left = emu->thread_count - index * APQ__EMU_LANES;
  warp->block = block;
  warp->threads = &block->threads[index * APQ__EMU_LANES];
  warp->index = index;
  warp->size = left < APQ__EMU_LANES ? left : APQ__EMU_LANES;
  warp->runnable = ~(uint32_t)0 >> (APQ__EMU_LANES - warp->size);
  warp->arrived = warp->exited = 0;
  warp->since = emu->clock;
  warp->atomic_at = 0;
  apq__emu_shuffle_lanes(emu, warp);
}

/* The registers that a thread has at launch: its part of what launch bounds leave a block. */
static int launch_registers(const apq__emu *emu) {
  int blocks = emu->kernel->code->min_blocks, all = emu->base.target.regs_per_sm;
  int each = all / (blocks > 0 ? blocks : 1) / emu->thread_count / 8 * 8;
  return each < 256 ? each : 256;
}

void apq__emu_start_block(apq__emu *emu, apq__emu_block *block, uint32_t index) {
  const int *grid = emu->words.grid;
  if (block->rank == 0) start_cluster(emu);
  block->index = index;
  block->position[0] = (int)(index % (uint32_t)grid[0]);
  block->position[1] = (int)(index / (uint32_t)grid[0] % (uint32_t)grid[1]);
  block->position[2] = (int)(index / (uint32_t)grid[0] / (uint32_t)grid[1]);
  block->threads = &emu->threads[block->rank * emu->thread_count];
  block->warps = &emu->warps[block->rank * emu->warp_count];
  block->since = emu->clock;
  block->waiting_warps = block->done_warps = 0;
  block->is_async = block->is_knowing = block->is_grid_waited = 0;
  block->registers_free = 0;
  block->known_at_exit = NULL;
  for (int i = 0; i < block->mbarrier_count; i++)
    block->mbarrier_at[block->mbarriers[i].at / 8] = 0;
  block->mbarrier_count = 0;
  memset(block->named, 0, sizeof block->named);
  for (int i = 0; i < APQ__EMU_GROUPS; i++) block->groups[i].arrived = 0;
  if (emu->cluster > 1)
    memset(block->visited, 0, (size_t)(emu->cluster * emu->thread_count) * sizeof *block->visited);
  memset(block->shared, POISON, (size_t)emu->shared_size);
  for (int i = 0; i < emu->thread_count; i++) {
    start_thread(&block->threads[i], block, i);
    block->threads[i].fiber = &emu->pool.fibers[block->rank * emu->thread_count + i];
  }
  for (int i = 0; i < emu->warp_count; i++) {
    start_warp(emu, &block->warps[i], block, i);
    block->warps[i].registers = launch_registers(emu);
  }
  apq__emu_start_products(block, emu->warp_count);
}

/* ---- end ---- */

static void check_visits(apq__emu *emu, const apq__emu_block *block) {
  for (int i = 0; emu->cluster > 1 && i < emu->cluster * emu->thread_count; i++) {
    int rank = i / emu->thread_count, thread = i % emu->thread_count;
    uint64_t at = block->visited[i];
    if (!at || (block->known_at_exit &&
                apq__emu_knows(&emu->order, block->known_at_exit, rank, thread, at)))
      continue;
    apq__emu_fault(
        emu, 0,
        "its block exits without waiting for thread %d of block %d of the cluster, which "
        "acts on its shared memory at line %d",
        thread, rank, block->visited_line[i]);
  }
}

void apq__emu_end_block(apq__emu *emu, apq__emu_block *block) {
  uint32_t flight = apq__emu_flight_into(emu, block->rank);
  if (flight) {
    const apq__emu_op *op = apq__emu_op_of(emu, flight);
    apq__emu_fault(
        emu, 0,
        "its block exits while a bulk copy issued by thread %d of block %d of the cluster "
        "at line %d is still in flight",
        op->thread, op->issuer, op->line);
  }
  check_visits(emu, block);
  apq__emu_compare_products(emu, block);
  if (emu->is_dependent && !block->is_grid_waited)
    apq__emu_fault(emu, 0, "its block exits without grid_wait in a dependent launch");
}
