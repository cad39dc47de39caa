/* ---- the kernel of family decode: loads ahead, products, the end of each tile ---- */

#if !QUANTIZES
/* Starts the first loads of activations. */
APQ_FUNCTION void apq_start_activations(const apq_gemm_args *args, const apq_lane *lane,
                                        const apq_cursor *first, apq_item item[STAGES],
                                        apq_activations *kept, const apq_copies *copies) {
#if OPERAND == OPERAND_STREAM
  apq_cursor at = *first;
  APQ_UNROLL
  for (int s = 0; s < STAGES; s++) {
    if (s == 0 || at.tile < lane->tiles) apq_load_activations(args, lane, &at, &item[s].a);
    apq_next(lane, &at);
  }
  (void)kept;
  (void)copies;
#elif OPERAND == OPERAND_KEEP
  apq_load_activations(args, lane, first, kept);
  (void)item;
  (void)copies;
#else
  apq_fill_panel(args, lane, copies);
  (void)first;
  (void)item;
  (void)kept;
#endif
}
#endif

#if CORE == CORE_U8
/* The condition is never true, nor known to be from another such loop: out of a loop, the assembler
 * does not move the work to where its results are used. */
APQ_FUNCTION void apq_unpack_first(const apq_gemm_args *args, apq_weights *w) {
  APQ_NO_UNROLL
  do apq_transpose_weights(w);
  while (args->k < 0);
}
#endif

#if CLUSTER > 1
/* All blocks of the cluster know the mbarriers that count what they send each other. */
APQ_FUNCTION void apq_meet_cluster(void) {
  if (apq_thread() == 0) {
    apq_mbarrier_init(0, 1);
    apq_mbarrier_publish();
    apq_mbarrier_expect(0, 4 * SET_WORDS);
  }
  apq_cluster_meet();
}
#endif

/* The first loads stand before the loop although their code is repeated in it: whatever the
 * compiler moves out of the loop would else come before them.  Activations are few; behind the
 * weights they would wait for room in the queue of loads.  What is done with rows to quantize them
 * hides while the weights are on their way. */
APQ_KERNEL(KERNEL, apq_gemm_args, THREADS, MIN_BLOCKS) {
  apq_lane lane;
  apq_lane_init(&lane, &args);
  apq_cursor use = {apq_first_tile(), 0}, load = use;
  apq_item item[STAGES];
#if OPERAND == OPERAND_KEEP
  apq_activations kept_activations, *kept = &kept_activations;
#else
  apq_activations *kept = 0;
#endif
#if QUANTIZES
  apq_row input;
#elif OPERAND == OPERAND_SHARED
  apq_copies first_copies, *copies = &first_copies;
#else
  apq_copies *copies = 0;
#endif
#if EVEN
  if (use.tile >= lane.tiles) {
    /* An idle block of a dependent launch keeps its place for as long as the others. */
#if PDL
    apq_grid_release();
    apq_grid_wait();
#endif
    return;
  }
#endif
#if PDL && RELEASE == RELEASE_START
  apq_grid_release();
#endif
#if !PDL
#if QUANTIZES
  input = apq_find_row(&args, &lane, 0);
  apq_hold_row(&input);
#else
#if OPERAND == OPERAND_SHARED
  first_copies = apq_plan_copies(&args, &lane);
#endif
  apq_start_activations(&args, &lane, &use, item, kept, copies);
#endif
#endif
  APQ_UNROLL
  for (int s = 0; s < STAGES; s++) {
    if (s == 0 || load.tile < lane.tiles) apq_load_weights(&args, &lane, &load, &item[s]);
    apq_next(&lane, &load);
  }
#if !PERSIST
  apq_output out;
  apq_raw_edge column = {0, 0, 0.0f, 0.0f};
  apq_output_init(&args, &lane, use.tile, &out);
  if (apq_has_output(&args, &lane, &out)) column = apq_load_column(&args, out.n);
#endif
#if HAS_GROUPS
  apq_raw_groups raw_groups;
  int first_row = use.tile * ROWS;
  apq_load_groups(&args, first_row, &raw_groups);
#endif
#if CLUSTER > 1
  apq_meet_cluster();
#endif
#if PDL
#if OPERAND == OPERAND_SHARED && !QUANTIZES
  first_copies = apq_plan_copies(&args, &lane);
#endif
#if CORE == CORE_U8 && UNPACK == UNPACK_WAIT
  apq_unpack_first(&args, &item[0].w);
#endif
  apq_grid_wait();
#if QUANTIZES
  input = apq_find_row(&args, &lane, 0);
  apq_hold_row(&input);
#else
  apq_start_activations(&args, &lane, &use, item, kept, copies);
#endif
#if RELEASE == RELEASE_ISSUE
  apq_grid_release();
#endif
#endif
#if QUANTIZES
  apq_quantize_rows(&args, &lane, &input);
#endif
  apq_raw_edge row = {0, 0, 0.0f, 0.0f};
#if !QUANTIZES
  if (apq_has_row(&args, &lane)) row = apq_token_row(&args, &lane, ROW_TOKEN);
#endif
#if !PERSIST
  apq_early32(out.is_plain);
  apq_early64(out.at);
#endif
#if CORE == CORE_U8 && UNPACK == UNPACK_FILL
  apq_unpack_first(&args, &item[0].w);
#endif
#if QUANTIZES
  lane.panel_at = apq_find_panel(&lane);
  apq_syncthreads();
  if (apq_has_row(&args, &lane)) row = apq_token_row(&args, &lane, ROW_TOKEN);
#elif OPERAND == OPERAND_SHARED
  lane.panel_at = copies->lane_at;
#if !ONCE
  apq_wait_panel(&lane, 0);
#endif
#endif

  apq_sums sums;
  int set = 0; /* which half of the partial sums' place */
  apq_clear(&sums);
#if ONCE
#if CORE == CORE_U8 && UNPACK == UNPACK_USE
  apq_transpose_weights(&item[0].w);
#endif
#if OPERAND == OPERAND_STREAM
  apq_multiply_item(&lane, &use, &item[0], &item[0].a, &sums);
#elif OPERAND == OPERAND_KEEP
  apq_multiply_item(&lane, &use, &item[0], kept, &sums);
#else
  /* Slabs are multiplied as they come. */
  APQ_UNROLL
  for (int d = 0; d < DEPTH; d++) {
#if !QUANTIZES
    apq_wait_panel(&lane, DEPTH - 1 - d);
#endif
    apq_multiply_slab(&lane, &use, &item[0], kept, d, &sums);
  }
#endif
#else
#if CORE == CORE_U8
#if UNPACK == UNPACK_USE
  int is_ready = 0;
#else
  int is_ready = 1; /* the next weights are unpacked */
#endif
#endif
  APQ_NO_UNROLL
  do {
    APQ_UNROLL
    for (int s = 0; s < STAGES; s++) {
      if (s > 0 && use.tile >= lane.tiles) break;
#if CORE == CORE_U8
      if (s > 0 || !is_ready) apq_transpose_weights(&item[s].w);
      is_ready = 0;
#endif
#if OPERAND == OPERAND_STREAM
      apq_multiply_item(&lane, &use, &item[s], &item[s].a, &sums);
#else
      apq_multiply_item(&lane, &use, &item[s], kept, &sums);
#endif
#if PERSIST
      int tile = use.tile, is_last = use.step == lane.steps - 1;
      apq_raw_edge column = item[s].column;
#endif
      apq_next(&lane, &use);
      if (load.tile < lane.tiles) {
        apq_load_weights(&args, &lane, &load, &item[s]);
#if OPERAND == OPERAND_STREAM
        apq_load_activations(&args, &lane, &load, &item[s].a);
#endif
        apq_next(&lane, &load);
      }
#if PERSIST
      if (is_last) {
        apq_output out;
        apq_output_init(&args, &lane, tile, &out);
        apq_finish(&args, &lane, tile == apq_first_tile(), set, &sums, &out, &column, &row);
        apq_clear(&sums);
        set ^= 1;
      }
#endif
    }
  } while (use.tile < lane.tiles);
#endif
#if HAS_GROUPS
  apq_finish_groups(&args, &lane, first_row, &raw_groups, &out, &column);
  (void)set;
  (void)row;
#elif !PERSIST
  apq_finish(&args, &lane, 1, set, &sums, &out, &column, &row);
#endif
}
