#include "emu_impl.h"

/* Barriers of whole warps: of the block, of some of its warps, of the cluster; and setmaxnreg,
 * which may have to wait too. */

/* What any thread of the blocks knows, all of them know; `times` of the blocks are those of the
 * barrier. */
static void join_blocks(apq__emu *emu, int first, int count) {
  apq__emu_known *all = apq__emu_know_nothing(emu);
  int threads = emu->thread_count;
  for (int i = first * emu->warp_count; i < (first + count) * emu->warp_count; i++)
    apq__emu_leave_warp(emu, all, &emu->warps[i]);
  for (int i = first; i < first + count; i++)
    all->time[i * emu->order.stride] = emu->blocks[i]->since;
  for (int i = first * threads; i < (first + count) * threads; i++)
    apq__emu_learn(emu, &emu->threads[i], all);
  apq__emu_drop(&emu->order, all);
}

/* Every warp of the block goes on from a barrier of at least the whole block. */
static void open_block(apq__emu *emu, apq__emu_block *block) {
  block->since = emu->clock;
  for (int i = 0; i < emu->warp_count; i++) {
    block->warps[i].since = emu->clock;
    apq__emu_wake_warp(emu, &block->warps[i]);
  }
  if (block == emu->block) emu->block_since = emu->warp_since = emu->clock;
}

static void sync_block(apq_emu *words, int line) {
  apq__emu *emu = apq__emu_of(words);
  if (!apq__emu_meet(emu, APQ__EMU_SYNC_BLOCK, line)) return;
  apq__emu_block *block = emu->block;
  if (block->done_warps)
    apq__emu_fault(emu, line, "syncthreads, but %d warps have exited", block->done_warps);
  if (block->waiting_warps == 0) {
    block->barrier_line = line;
    block->barrier_thread = words->thread;
  } else if (block->barrier_line != line) {
    apq__emu_fault(emu, line, "syncthreads, while thread %d waits at the one at line %d: divergent",
                   block->barrier_thread, block->barrier_line);
  }
  if (++block->waiting_warps < emu->warp_count) {
    apq__emu_park(emu, APQ__EMU_SYNC_BLOCK, line);
    return;
  }
  block->waiting_warps = 0;
  apq__emu_tick(emu);
  open_block(emu, block);
  if (block->is_knowing) join_blocks(emu, block->rank, 1);
  apq__emu_yield(emu);
}

static void sync_cluster(apq_emu *words, int line) {
  apq__emu *emu = apq__emu_of(words);
  if (!apq__emu_meet(emu, APQ__EMU_SYNC_CLUSTER, line)) return;
  for (int i = 0; i < emu->cluster; i++)
    if (emu->blocks[i]->done_warps)
      apq__emu_fault(emu, line, "cluster_sync, but %d warps of block %d of the cluster have exited",
                     emu->blocks[i]->done_warps, i);
  if (++emu->waiting_warps < emu->cluster * emu->warp_count) {
    apq__emu_park(emu, APQ__EMU_SYNC_CLUSTER, line);
    return;
  }
  emu->waiting_warps = 0;
  apq__emu_tick(emu);
  for (int i = 0; i < emu->cluster; i++) open_block(emu, emu->blocks[i]);
  join_blocks(emu, 0, emu->cluster);
  apq__emu_yield(emu);
}

/* ---- named barriers ---- */

static void check_named(apq__emu *emu, int line, int id, int threads) {
  if (id < 1 || id >= APQ__EMU_NAMED)
    apq__emu_fault(emu, line, "named_barrier %d: they are 1 to %d", id, APQ__EMU_NAMED - 1);
  if (threads < APQ__EMU_LANES || threads % APQ__EMU_LANES || threads > emu->thread_count)
    apq__emu_fault(
        emu, line,
        "named_barrier %d of %d threads: whole warps of a block of %d threads are wanted", id,
        threads, emu->thread_count);
}

static void open_named(apq__emu *emu, apq__emu_block *block, apq__emu_named *named) {
  for (int i = 0; i < emu->warp_count; i++) {
    if (!(named->warps >> i & 1)) continue;
    block->warps[i].since = emu->clock;
    apq__emu_learn_warp(emu, &block->warps[i], named->gathered);
    apq__emu_wake_warp(emu, &block->warps[i]);
  }
  emu->warp_since = emu->clock;
  apq__emu_drop(&emu->order, named->gathered);
  *named = (apq__emu_named){0};
}

static void named_barrier(apq_emu *words, int line, int id, int threads) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_warp *warp = emu->current->warp;
  check_named(emu, line, id, threads);
  if (warp->arrived && warp->argument[warp->first] != id)
    apq__emu_fault(emu, line,
                   "named_barrier %d, while thread %d of the same warp waits at %d: divergent", id,
                   warp->threads[warp->first].index, warp->argument[warp->first]);
  warp->argument[emu->current->lane] = id;
  if (!apq__emu_meet(emu, APQ__EMU_NAMED_BARRIER, line)) return;
  apq__emu_named *named = &emu->block->named[id];
  if (!named->warps) {
    *named = (apq__emu_named){.threads = threads, .line = line, .thread = words->thread};
    named->gathered = apq__emu_know_nothing(emu);
  } else if (named->threads != threads) {
    apq__emu_fault(emu, line, "named_barrier %d of %d threads, but of %d for thread %d at line %d",
                   id, threads, named->threads, named->thread, named->line);
  }
  apq__emu_leave_warp(emu, named->gathered, warp);
  named->warps |= (uint32_t)1 << warp->index;
  named->arrived += APQ__EMU_LANES;
  if (named->arrived < named->threads) {
    apq__emu_park(emu, APQ__EMU_NAMED_BARRIER, line);
    return;
  }
  open_named(emu, emu->block, named);
  apq__emu_yield(emu);
}

/* ---- registers ---- */

static void check_registers(apq__emu *emu, int line, const apq__emu_warp *warp, int grow,
                            int count) {
  if (count < 24 || count > 256 || count % 8)
    apq__emu_fault(emu, line, "%d registers: a multiple of 8 from 24 to 256 is wanted", count);
  if (grow ? count < warp->registers : count > warp->registers)
    apq__emu_fault(emu, line, "registers_%s to %d, but a thread has %d",
                   grow ? "increase" : "decrease", count, warp->registers);
  if (emu->thread_count / APQ__EMU_LANES / APQ__EMU_GROUP_WARPS <=
      warp->index / APQ__EMU_GROUP_WARPS)
    apq__emu_fault(emu, line, "registers change in a warpgroup of fewer than 128 threads");
}

/* Gives a warpgroup that waits what it wants, if there is as much. */
static void try_registers(apq__emu *emu, apq__emu_block *block, int index) {
  apq__emu_group *group = &block->groups[index];
  if (group->arrived < APQ__EMU_GROUP_WARPS) return;
  apq__emu_warp *warps = &block->warps[index * APQ__EMU_GROUP_WARPS];
  int more = (group->count - warps->registers) * APQ__EMU_GROUP_WARPS * APQ__EMU_LANES;
  if (more > block->registers_free) return;
  block->registers_free -= more;
  group->arrived = 0;
  for (int i = 0; i < APQ__EMU_GROUP_WARPS; i++) {
    warps[i].registers = group->count;
    apq__emu_wake_warp(emu, &warps[i]);
  }
}

/* A warpgroup changes its registers once all its warps are there, and takes more only when others
 * have given them back. */
static void set_registers(apq_emu *words, int line, int grow, int count) {
  apq__emu *emu = apq__emu_of(words);
  if (!apq__emu_meet(emu, APQ__EMU_REGISTERS, line)) return;
  apq__emu_block *block = emu->block;
  apq__emu_warp *warp = emu->current->warp;
  check_registers(emu, line, warp, grow, count);
  int index = warp->index / APQ__EMU_GROUP_WARPS;
  apq__emu_group *group = &block->groups[index];
  if (group->arrived && (group->line != line || group->count != count))
    apq__emu_fault(
        emu, line,
        "registers change to %d, while thread %d of the same warpgroup wants %d at line %d", count,
        group->thread, group->count, group->line);
  group->line = line;
  group->count = count;
  group->thread = words->thread;
  group->arrived++;
  int before = block->registers_free;
  try_registers(emu, block, index);
  if (group->arrived) {
    apq__emu_park(emu, APQ__EMU_REGISTERS, line);
    return;
  }
  for (int i = 0; i < APQ__EMU_GROUPS && block->registers_free > before; i++)
    try_registers(emu, block, i);
  apq__emu_yield(emu);
}

static void grid_wait(apq_emu *words, int line) {
  (void)line;
  apq__emu *emu = apq__emu_of(words);
  emu->current->grid_waited = emu->block->is_grid_waited = 1;
}

/* Launches follow each other here. */
static void grid_release(apq_emu *words, int line) {
  (void)words;
  (void)line;
}

void apq__emu_barrier_words(apq_emu *words) {
  words->sync_block = sync_block;
  words->sync_cluster = sync_cluster;
  words->named_barrier = named_barrier;
  words->set_registers = set_registers;
  words->grid_wait = grid_wait;
  words->grid_release = grid_release;
}
