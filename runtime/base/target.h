/* What a kernel is built for and how fast that is: the facts that limits and the cost model use. */
#ifndef APQ_TARGET_H
#define APQ_TARGET_H

#include <stdint.h>

#include "apq.h"

typedef struct apq__target {
  char name[64];   /* as the driver gives it, "NVIDIA H200", or "emu:sm_90a" */
  char arch[12];   /* "sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120" */
  char driver[24]; /* "13.0"; "emu" when emulated */
  int cc;          /* 75, 80, 86, 89, 90, 100, 120 */
  int emulated;    /* 1: runs on the CPU, its times are the cost model's */
  int sm_count;
  int smem_per_block; /* bytes, opt-in maximum of one block */
  int smem_per_sm;
  int regs_per_sm; /* 32-bit registers */
  int threads_per_sm, blocks_per_sm;
  int64_t l2_bytes, mem_bytes;
  double clock_hz; /* sustained SM clock */
  double dram_bytes_per_s, l2_bytes_per_s;
  /* Multiply-accumulates a clock a SM of mma.sync, 0 where there is none or it is emulated in
   * software. */
  double b1_and_macs, b1_xor_macs, u8_macs;
} apq__target;

/* The model of a GPU of this arch, posing as "emu:<arch>".  NOT_FOUND lists the names that exist.
 */
apq_status apq__target_emulated(const char *arch, apq__target *out, apq_error *error);

/* Fills the fields that no driver reports (rates, L2 bandwidth) from the table row nearest to cc.
 */
void apq__target_fill_rates(apq__target *target);

/* Name i of the table, NULL past the end. */
const char *apq__target_arch(int i);

#endif
