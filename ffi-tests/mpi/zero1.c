/* Trains the network of ../consumers on several processes, with AdamW sharded among them (ZeRO stage 1, Rajbhandari et
 * al. 2020). Each rank has all weights, computes the gradient of its part of every batch, and owns one shard of the
 * optimizer's state, which no other rank has:
 *
 *   reduce-scatter   each rank gets the sum of all gradients, for its shard
 *   step             each rank updates its shard of the weights
 *   all-gather       each rank gets the other shards
 *
 * All ranks together, on CPUs of one kind, end with the same bits, however many there are. An update has the same bits
 * wherever an array is cut; what is left to care for are the sums. A batch is cut into SLICES slices, whose gradients
 * are added as a binary tree. With 2, 4 or 8 ranks each one computes a branch of this tree, and the rest of it adds up
 * the ranks.
 *
 *   mpirun -n 2 zero1 DIGITS.CSV */
#include <downhill.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "../consumers/network.h"

enum { EPOCHS = 20, BATCH = 32, SLICES = 8 };
enum { WEIGHTS = sizeof(network) / sizeof(float), PART = (WEIGHTS + SLICES - 1) / SLICES, PADDED = SLICES * PART };

/* Weights or a gradient as one array, which can be cut into SLICES equal parts. */
typedef union {
  network net;
  float all[PADDED];
} flat;

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

/* The sum of all ranks' gradients, for the own shard: the first of what is received. MPI_Reduce_scatter would do the
 * same, in an order of its own. */
static void reduce_scatter(const flat *g, float *received, int shard) {
  int distance, i;
  MPI_Alltoall(g->all, shard, MPI_FLOAT, received, shard, MPI_FLOAT, MPI_COMM_WORLD);
  for (distance = 1; distance < ranks; distance *= 2)
    for (i = 0; i < ranks; i += 2 * distance) add(received + i * shard, received + (i + distance) * shard, shard);
}

/* The norm of the whole gradient: of each of its SLICES parts by the rank that has it, then of all in order. */
static double global_norm(float *g) {
  double own[SLICES], all[SLICES], sum = 0.0;
  const int parts = SLICES / ranks;
  int i;
  for (i = 0; i < parts; i++) {
    downhill_tensor part = {PART, NULL, NULL, {NULL}};
    part.g = g + i * PART;
    if (downhill_grad_norm(1, &part, NULL, &own[i]) != DOWNHILL_STATUS_OK) fail(downhill_last_error());
  }
  MPI_Allgather(own, parts, MPI_DOUBLE, all, parts, MPI_DOUBLE, MPI_COMM_WORLD);
  for (i = 0; i < SLICES; i++) sum += all[i] * all[i];
  return sqrt(sum);
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

/* One step with a batch; `shard` has what this rank owns. */
static void step(const int *batch, int size, uint64_t t, const downhill_tensor *shard) {
  static flat g;
  const int n = (int)shard->n, slices = SLICES / ranks;
  const double max_norm = 1.0;
  downhill_adam config = downhill_adamw_default();
  downhill_extras extras = downhill_extras_default();
  double norm, clip;
  memset(&g, 0, sizeof g);
  add_slices(batch, size, rank * slices, slices, &g);
  reduce_scatter(&g, shard->g, n);
  norm = global_norm(shard->g) / size;
  config.lr = 3e-3;
  clip = max_norm / (norm + 1e-6);
  extras.grad_scale = (clip >= 1.0 ? 1.0 : clip) / size; /* not fmin, which would hide a NaN */
  if (downhill_adamw_step_many(1, shard, t, &config, &extras, NULL, NULL) != DOWNHILL_STATUS_OK)
    fail(downhill_last_error());
  MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, w.all, n, MPI_FLOAT, MPI_COMM_WORLD);
}

static void train(const downhill_tensor *shard, uint64_t *random) {
  int order[DIGITS], count = 0, epoch, start, i;
  uint64_t t = 0;
  for (i = 0; i < DIGITS; i++)
    if (!is_test(i)) order[count++] = i;
  for (epoch = 1; epoch <= EPOCHS; epoch++) {
    double loss;
    shuffle(order, count, random);
    for (start = 0; start < count; start += BATCH)
      step(order + start, start + BATCH < count ? BATCH : count - start, ++t, shard);
    loss = epoch_loss(count);
    if (rank == 0) printf("epoch %2d  loss %.4f\n", epoch, loss);
  }
}

int main(int argc, char **argv) {
  static float received[PADDED];
  downhill_tensor shard = {0, NULL, NULL, {NULL}};
  uint64_t random = 1;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (argc != 2) fail("usage: zero1 DIGITS.CSV");
  if (ranks > SLICES || SLICES % ranks != 0) fail("there must be 1, 2, 4 or 8 ranks");
  if (!read_digits(argv[1], digits)) fail("no digits");
  initialize(&w.net, &random);

  shard.n = (size_t)(PADDED / ranks);
  shard.w = w.all + (size_t)rank * shard.n;
  shard.g = received;
  shard.state[0] = zeros((int)shard.n);
  shard.state[1] = zeros((int)shard.n);
  printf("rank %d of %d: has %d weights and 2 x %d floats of state\n", rank, ranks, PADDED, (int)shard.n);
  fflush(stdout);
  train(&shard, &random);
  free(shard.state[0]);
  free(shard.state[1]);

  if (rank == 0) {
    printf("%.1f %% of the digits that it has not seen\n", 100.0 * accuracy(&w.net, digits));
    printf("bits of all weights: %016llx\n", (unsigned long long)hash_weights());
  }
  MPI_Finalize();
  return EXIT_SUCCESS;
}
