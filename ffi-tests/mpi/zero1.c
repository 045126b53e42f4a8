/* Trains the network of ../consumers on several processes, with AdamW sharded among them (ZeRO stage 1,
 * Rajbhandari et al. 2020). Each rank has all weights, computes the gradient of its part of every batch,
 * and owns one shard of the optimizer's state, which no other rank has:
 *
 *   reduce-scatter   each rank gets the sum of all gradients, for its shard
 *   step             each rank updates its shard of the weights
 *   all-gather       each rank gets the other shards
 *
 * All ranks together, on CPUs of one kind, end with the same bits, however many there are. An update has
 * the same bits wherever an array is cut; what is left to care for are the sums. A batch is cut into
 * SLICES slices, whose gradients are added as a binary tree. With 2, 4 or 8 ranks each one computes a
 * branch of this tree, and the rest of it adds up the ranks. For the norm the network is cut into SLICES
 * parts, whatever the number of ranks: the squares of each part's piece of each tensor are summed, and
 * these sums added from left to right. (Of tensors in one piece the last bits would be others.) Weights
 * decay, biases do not.
 *
 *   mpirun -n 2 zero1 DIGITS.CSV */
#include <downhill.h>
#include <mpi.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "../consumers/network.h"

enum { EPOCHS = 20, BATCH = 32, SLICES = 8 };
enum { DECAYED = 2, TENSORS = 4, GROUPS = 2 }; /* of a part; the first tensors decay */
enum {
  WEIGHTS = sizeof(network) / sizeof(float),
  PART = (WEIGHTS + SLICES - 1) / SLICES,
  PADDED = SLICES * PART
};

/* Weights or a gradient as one array, which can be cut into SLICES equal parts. */
typedef union {
  network net;
  float all[PADDED];
} flat;

/* Where a tensor is in it. */
#define RANGE(name) {offsetof(network, name) / sizeof(float), sizeof((network *)0)->name / sizeof(float)}
static const struct {
  size_t start, n;
} ranges[TENSORS] = {RANGE(w1), RANGE(w2), RANGE(b1), RANGE(b2)};

/* What a rank owns: for each of its parts the pieces of the tensors, in the groups of a step. */
typedef struct {
  int parts, n; /* how many parts, and elements in all of them */
  float *g, *m, *v;
  downhill_tensor tensors[SLICES][TENSORS];
  downhill_group groups[SLICES * GROUPS];
} shard;

static digit digits[DIGITS];
static flat w;
static int rank, ranks;
static double losses[SLICES]; /* of this rank's slices, summed over the epoch */

static void fail(const char *message) {
  fprintf(stderr, "rank %d: %s\n", rank, message);
  MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
}

static float *zeros(int count) {
  float *memory = (float *)calloc((size_t)count, sizeof *memory);
  if (memory == NULL) fail("out of memory");
  return memory;
}

static void add(float *to, const float *from, int count) {
  int i;
  for (i = 0; i < count; i++) to[i] += from[i];
}

/* Adds the gradient of slices of the batch to g, which is zero: a branch of the tree. */
static void add_slices(const int *batch, int size, int first, int count, flat *g) {
  int i;
  if (count == 1) {
    for (i = first * size / SLICES; i < (first + 1) * size / SLICES; i++)
      losses[first] += add_gradient(&w.net, &digits[batch[i]], &g->net);
  } else {
    flat right;
    memset(&right, 0, sizeof right);
    add_slices(batch, size, first, count / 2, g);
    add_slices(batch, size, first + count / 2, count / 2, &right);
    add(g->all, right.all, PADDED);
  }
}

/* The sum of all ranks' gradients, for the own shard: the first of what is received. MPI_Reduce_scatter
 * would do the same, in an order of its own. */
static void reduce_scatter(const flat *g, float *received, int shard) {
  int distance, i;
  MPI_Alltoall(g->all, shard, MPI_FLOAT, received, shard, MPI_FLOAT, MPI_COMM_WORLD);
  for (distance = 1; distance < ranks; distance *= 2)
    for (i = 0; i < ranks; i += 2 * distance)
      add(received + i * shard, received + (i + distance) * shard, shard);
}

/* The sum of the squares of the whole gradient: of each part's pieces by the rank that has them, then of
 * all in order. */
static double sum_of_squares(const shard *own) {
  double sums[SLICES * TENSORS], all[SLICES * TENSORS], sum = 0.0;
  const int count = own->parts * TENSORS;
  int i;
  if (downhill_grad_squares((size_t)own->parts * GROUPS, own->groups, NULL, sums) != DOWNHILL_STATUS_OK)
    fail(downhill_last_error());
  MPI_Allgather(sums, count, MPI_DOUBLE, all, count, MPI_DOUBLE, MPI_COMM_WORLD);
  for (i = 0; i < SLICES * TENSORS; i++) sum += all[i];
  return sum;
}

static double epoch_loss(int count) {
  double all[SLICES], sum = 0.0;
  const int parts = SLICES / ranks;
  int i;
  MPI_Allgather(losses + rank * parts, parts, MPI_DOUBLE, all, parts, MPI_DOUBLE, MPI_COMM_WORLD);
  for (i = 0; i < SLICES; i++) {
    sum += all[i];
    losses[i] = 0.0;
  }
  return sum / count;
}

/* One number for all the bits of the weights (FNV-1a). */
static uint64_t hash_weights(void) {
  const unsigned char *bytes = (const unsigned char *)&w.net;
  uint64_t hash = 14695981039346656037u;
  size_t i;
  for (i = 0; i < sizeof w.net; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
  return hash;
}

/* The piece of a tensor that is in one of the own parts; of n = 0 if there is none. */
static downhill_tensor piece(const shard *own, int tensor, size_t part) {
  const size_t first = (size_t)rank * (size_t)own->n;
  const size_t tensor_end = ranges[tensor].start + ranges[tensor].n;
  const size_t start = ranges[tensor].start > part * PART ? ranges[tensor].start : part * PART;
  const size_t end = tensor_end < (part + 1) * PART ? tensor_end : (part + 1) * PART;
  downhill_tensor made = {0};
  if (start >= end) return made;
  made.n = end - start;
  made.w = w.all + start;
  made.g = own->g + (start - first);
  made.state[0] = own->m + (start - first);
  made.state[1] = own->v + (start - first);
  return made;
}

static void own_parts(shard *own, const downhill_adam configs[GROUPS]) {
  int i, k;
  for (i = 0; i < own->parts; i++) {
    for (k = 0; k < TENSORS; k++) own->tensors[i][k] = piece(own, k, (size_t)(rank * own->parts + i));
    for (k = 0; k < GROUPS; k++) {
      downhill_group *const group = &own->groups[i * GROUPS + k];
      *group = downhill_group_default();
      group->config = &configs[k];
      group->tensors = &own->tensors[i][k * DECAYED];
      group->count = k == 0 ? DECAYED : TENSORS - DECAYED;
    }
  }
}

/* One step with a batch. Gives 0 if all ranks have skipped it, if a gradient is not finite, else 1. */
static int step(const int *batch, int size, uint64_t t, shard *own) {
  static flat g;
  downhill_extras extras = downhill_extras_default();
  downhill_status status;
  int i;
  memset(&g, 0, sizeof g);
  add_slices(batch, size, rank * own->parts, own->parts, &g);
  reduce_scatter(&g, own->g, own->n);
  extras.grad_scale = 1.0 / size;
  extras.max_norm = 1.0;
  extras.norm_squared = sum_of_squares(own);
  extras.flags = DOWNHILL_EXTRAS_NORM_GIVEN | DOWNHILL_EXTRAS_SKIP_NONFINITE;
  for (i = 0; i < own->parts * GROUPS; i++) own->groups[i].t = t;
  status = downhill_step((size_t)own->parts * GROUPS, own->groups, &extras, NULL, NULL);
  if (status == DOWNHILL_STATUS_SKIPPED) return 0;
  if (status != DOWNHILL_STATUS_OK) fail(downhill_last_error());
  MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, w.all, own->n, MPI_FLOAT, MPI_COMM_WORLD);
  return 1;
}

static void train(shard *own, uint64_t *random) {
  int order[DIGITS], count = 0, epoch, start, i;
  uint64_t t = 1;
  for (i = 0; i < DIGITS; i++)
    if (!is_test(i)) order[count++] = i;
  for (epoch = 1; epoch <= EPOCHS; epoch++) {
    double loss;
    shuffle(order, count, random);
    for (start = 0; start < count; start += BATCH)
      t += (uint64_t)step(order + start, start + BATCH < count ? BATCH : count - start, t, own);
    loss = epoch_loss(count);
    if (rank == 0) printf("epoch %2d  loss %.4f\n", epoch, loss);
  }
}

int main(int argc, char **argv) {
  static shard own;
  downhill_adam configs[GROUPS];
  uint64_t random = 1;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (argc != 2) fail("usage: zero1 DIGITS.CSV");
  if (ranks > SLICES || SLICES % ranks != 0) fail("there must be 1, 2, 4 or 8 ranks");
  if (!read_digits(argv[1], digits)) fail("no digits");
  initialize(&w.net, &random);

  configs[0] = downhill_adamw_default();
  configs[0].lr = 3e-3;
  configs[1] = configs[0];
  configs[1].weight_decay = 0.0;
  own.parts = SLICES / ranks;
  own.n = PADDED / ranks;
  own.g = zeros(PADDED); /* the own shard, and room for all others' sums */
  own.m = zeros(own.n);
  own.v = zeros(own.n);
  own_parts(&own, configs);
  printf("rank %d of %d: has %d weights and 2 x %d floats of state\n", rank, ranks, PADDED, own.n);
  fflush(stdout);
  train(&own, &random);
  free(own.g);
  free(own.m);
  free(own.v);

  if (rank == 0) {
    printf("%.1f %% of the digits that it has not seen\n", 100.0 * accuracy(&w.net, digits));
    printf("bits of all weights: %016llx\n", (unsigned long long)hash_weights());
  }
  MPI_Finalize();
  return EXIT_SUCCESS;
}
