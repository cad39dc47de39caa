#include "emu_impl.h"

#include <string.h>

#include "alloc.h"
#include "host.h"
#include "status.h"

/* Bulk copies from global to shared memory: plain ones and boxes of tensors.  A copy is checked
 * when it is issued and moves its data at some later time. */

enum {
  ROW_CHUNK = 16,
  BOX_MAX = 256, /* CUDA driver API, cuTensorMapEncodeTiled: elements of a box along a dimension */
  POISON = 0xcd,
};
static const uint64_t map_magic = 0x7061742075706d65; /* of an emulated device's maps */
#define PITCH_END  ((size_t)1 << 40)                  /* the same */
#define EXTENT_END ((size_t)1 << 32)

/* A tensor map's words: the magic number, the box, and a sum over it. */
typedef struct tensor_map {
  uint64_t magic;
  apq__tensor_box box;
  uint64_t sum;
} tensor_map;

typedef struct apq__emu_flight {
  uint32_t op;
  int at, size;
  apq__emu_mbarrier *barrier;
  const void *from;    /* of a plain copy */
  apq__tensor_box box; /* of a tensor's, and where it begins */
  int x, y, z;
} apq__emu_flight;

/* ---- tensor maps ---- */

static uint64_t sum_of(const apq__tensor_box *box) {
  return ((uint64_t)(uintptr_t)box->base * 31 + box->row_bytes) * 31 + box->rows * 7 +
         box->planes * 3 + box->row_pitch * 5 + box->plane_pitch * 11 +
         (uint64_t)(box->box_bytes * 1024 + box->box_rows + box->swizzle * 131072);
}

/* What the driver would refuse, in words; NULL when it takes the box. */
static const char *find_flaw(const apq__tensor_box *box) {
  if ((uintptr_t)box->base % 16) return "its base is not 16-byte aligned";
  if (!box->row_bytes || !box->rows || !box->planes) return "it is empty";
  if (box->row_bytes > EXTENT_END || box->rows > EXTENT_END || box->planes > EXTENT_END)
    return "an extent is above 2^32";
  if (box->row_pitch % 16 || box->plane_pitch % 16) return "a pitch is not a multiple of 16";
  if (box->row_pitch >= PITCH_END || box->plane_pitch >= PITCH_END)
    return "a pitch is 2^40 or more";
  if (box->row_pitch < box->row_bytes) return "its rows overlap";
  if (box->box_bytes < 1 || box->box_bytes > BOX_MAX || box->box_rows < 1 ||
      box->box_rows > BOX_MAX)
    return "a box has 1 to 256 bytes and 1 to 256 rows";
  if (box->box_bytes % 16) return "a box's rows are no multiple of 16 bytes";
  if (box->swizzle != 0 && box->swizzle != 32 && box->swizzle != 64 && box->swizzle != 128)
    return "a swizzle is 0, 32, 64 or 128 bytes wide";
  if (box->swizzle && box->box_bytes != box->swizzle)
    return "a box's rows are not as wide as the swizzle";
  return NULL;
}

apq_status apq__emu_tensor_map(apq__emu *emu, const apq__tensor_box *box, apq_tensor_map *out,
                               apq_error *error) {
  if (emu->base.target.cc < 90)
    return apq__fail(error, APQ_INFEASIBLE, "device", "%s has no bulk tensor copies",
                     emu->base.target.name);
  const char *flaw = find_flaw(box);
  if (flaw)
    return apq__fail(
        error, APQ_INVALID_ARGUMENT, "device",
        "no tensor map of %zu planes (pitch %zu) of %zu rows (pitch %zu) of %zu bytes, in "
        "boxes of %d rows of %d bytes, swizzle %d: %s",
        box->planes, box->plane_pitch, box->rows, box->row_pitch, box->row_bytes, box->box_rows,
        box->box_bytes, box->swizzle, flaw);
  tensor_map map = {map_magic, *box, sum_of(box)};
  _Static_assert(sizeof map <= sizeof *out, "a tensor map holds the emulated device's own");
  memset(out, 0, sizeof *out);
  memcpy(out, &map, sizeof map);
  size_t size =
      (box->planes - 1) * box->plane_pitch + (box->rows - 1) * box->row_pitch + box->row_bytes;
  return apq__emu_check_range(emu, box->base, size, "tensor map", error);
}

apq__tensor_box apq__emu_read_map(apq__emu *emu, int line, const void *pointer) {
  tensor_map map;
  if ((uintptr_t)pointer % 64)
    apq__emu_fault(emu, line, "a tensor map at %p: not 64-byte aligned", pointer);
  memcpy(&map, pointer, sizeof map);
  if (map.magic != map_magic || map.sum != sum_of(&map.box))
    apq__emu_fault(emu, line, "what should be a tensor map is none of this device");
  return map.box;
}

/* ---- issue ---- */

static void add_flight(apq__emu *emu, int line, apq__emu_flight flight) {
  if (emu->flight_count == emu->flight_capacity) {
    int capacity = emu->flight_capacity ? 2 * emu->flight_capacity : 32;
    apq__emu_flight *flights = apq__realloc(emu->flights, (size_t)capacity * sizeof *flights);
    if (!flights) apq__emu_fault(emu, line, "no memory to emulate bulk copies");
    emu->flights = flights;
    emu->flight_capacity = capacity;
  }
  emu->flights[emu->flight_count++] = flight;
}

/* Sends a copy on its way into one block. */
static void send(apq__emu *emu, int line, apq__emu_block *block, int mbarrier,
                 const apq__emu_flight *what) {
  apq__emu_view view = apq__emu_view_now(emu);
  apq__emu_flight flight = *what;
  apq__emu_check_alive(emu, line, block);
  flight.barrier = apq__emu_find_mbarrier(emu, line, block, mbarrier, 1);
  flight.op = apq__emu_add_op(emu, (apq__emu_op){
                                       .kind = APQ__EMU_LOAD,
                                       .rank = (uint8_t)block->rank,
                                       .issuer = (uint8_t)emu->block->rank,
                                       .thread = (uint16_t)emu->words.thread,
                                       .line = line,
                                       .mbarrier = (int)(flight.barrier - block->mbarriers),
                                   });
  apq__emu_claim(emu, &view, block, (apq__emu_deed){line, "bulk copy", flight.at, flight.size},
                 flight.op);
  memset(block->shared + flight.at, POISON, (size_t)flight.size);
  add_flight(emu, line, flight);
}

static void check_box_source(apq__emu *emu, int line, const apq__emu_flight *flight) {
  const apq__tensor_box *box = &flight->box;
  if (flight->z < 0 || (size_t)flight->z >= box->planes) return;
  long long first = flight->x > 0 ? flight->x : 0, end = (long long)flight->x + box->box_bytes;
  if (end > (long long)box->row_bytes) end = (long long)box->row_bytes;
  if (first >= end) return;
  for (int i = 0; i < box->box_rows; i++) {
    long long row = (long long)flight->y + i;
    if (row < 0 || row >= (long long)box->rows) continue;
    const char *at = (const char *)box->base + (size_t)flight->z * box->plane_pitch +
                     (size_t)row * box->row_pitch + (size_t)first;
    apq__emu_check_bulk_source(emu, line, at, (size_t)(end - first));
  }
}

static apq__emu_flight box_flight(apq__emu *emu, int line, int at, const void *map,
                                  const int xyz[3]) {
  apq__emu_flight flight = {.at = at, .x = xyz[0], .y = xyz[1], .z = xyz[2]};
  flight.box = apq__emu_read_map(emu, line, map);
  flight.size = flight.box.box_bytes * flight.box.box_rows;
  if (at % 128) apq__emu_fault(emu, line, "tensor copy to offset %d: not 128-byte aligned", at);
  check_box_source(emu, line, &flight);
  return flight;
}

static void tma_load(apq_emu *words, int line, int at, const void *map, int mbarrier, int x, int y,
                     int z) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_flight flight = box_flight(emu, line, at, map, (int[3]){x, y, z});
  send(emu, line, emu->block, mbarrier, &flight);
}

static void tma_load_multicast(apq_emu *words, int line, int at, const void *map, int mbarrier,
                               int x, int y, int z, int mask) {
  apq__emu *emu = apq__emu_of(words);
  apq__emu_flight flight = box_flight(emu, line, at, map, (int[3]){x, y, z});
  if (mask <= 0 || mask >> emu->cluster)
    apq__emu_fault(emu, line, "multicast to the blocks 0x%x of a cluster of %d", (unsigned)mask,
                   emu->cluster);
  for (int i = 0; i < emu->cluster; i++)
    if (mask >> i & 1) send(emu, line, emu->blocks[i], mbarrier, &flight);
}

static void bulk_load(apq_emu *words, int line, int at, const void *from, int bytes, int mbarrier) {
  apq__emu *emu = apq__emu_of(words);
  if (at % 16 || (uintptr_t)from % 16 || bytes % 16 || bytes <= 0)
    apq__emu_fault(emu, line,
                   "bulk copy of %d bytes from %p to offset %d: multiples of 16 are wanted", bytes,
                   from, at);
  apq__emu_check_bulk_source(emu, line, from, (size_t)bytes);
  send(emu, line, emu->block, mbarrier, &(apq__emu_flight){.at = at, .size = bytes, .from = from});
}

static void tma_prefetch(apq_emu *words, int line, const void *map) {
  apq__emu_read_map(apq__emu_of(words), line, map);
}

/* ---- arrival ---- */

/* Row `row` of the box, with zeros for what lies outside the tensor. */
static void read_row(const apq__emu_flight *flight, int row, uint8_t *out) {
  const apq__tensor_box *box = &flight->box;
  long long y = (long long)flight->y + row, x = flight->x, size = box->box_bytes;
  memset(out, 0, (size_t)size);
  if (flight->z < 0 || (size_t)flight->z >= box->planes || y < 0 || y >= (long long)box->rows)
    return;
  long long skip = x < 0 ? -x : 0, end = (long long)box->row_bytes - x;
  if (end > size) end = size;
  if (skip >= end) return;
  memcpy(out + skip,
         (const char *)box->base + (size_t)flight->z * box->plane_pitch +
             (size_t)y * box->row_pitch + (size_t)(x + skip),
         (size_t)(end - skip));
}

/* The 16-byte chunks of 128, 64 or 32 bytes trade places by the number of the 128 bytes they are in
 * (CUDA programming guide, "Tensor Swizzle Modes"). */
static void write_box(const apq__emu_flight *flight, uint8_t *shared) {
  unsigned mask = flight->box.swizzle ? (unsigned)flight->box.swizzle / ROW_CHUNK - 1 : 0;
  uint8_t row[BOX_MAX];
  for (int i = 0; i < flight->box.box_rows; i++) {
    read_row(flight, i, row);
    for (int c = 0; c < flight->box.box_bytes; c += ROW_CHUNK) {
      unsigned to = (unsigned)(flight->at + i * flight->box.box_bytes + c);
      memcpy(shared + (to ^ (to >> 7 & mask) * ROW_CHUNK), row + c, ROW_CHUNK);
    }
  }
}

int apq__emu_land(apq__emu *emu) {
  if (!emu->flight_count) return 0;
  int i = (int)(apq__random(&emu->random) % (uint64_t)emu->flight_count);
  const apq__emu_flight flight = emu->flights[i];
  emu->flights[i] = emu->flights[--emu->flight_count];
  apq__emu_op *op = apq__emu_op_of(emu, flight.op);
  uint8_t *shared = emu->blocks[op->rank]->shared;
  if (flight.from)
    memcpy(shared + flight.at, flight.from, (size_t)flight.size);
  else
    write_box(&flight, shared);
  op->is_done = 1;
  op->time[0] = emu->clock;
  apq__emu_complete_bytes(emu, flight.barrier, flight.size, op);
  return 1;
}

uint32_t apq__emu_flight_into(const apq__emu *emu, int rank) {
  for (int i = 0; i < emu->flight_count; i++)
    if (apq__emu_op_of(emu, emu->flights[i].op)->rank == rank) return emu->flights[i].op;
  return 0;
}

void apq__emu_bulk_words(apq_emu *words) {
  words->tma_prefetch = tma_prefetch;
  words->tma_load = tma_load;
  words->tma_load_multicast = tma_load_multicast;
  words->bulk_load = bulk_load;
}
