/*
 * What the steps are compared with: plain loops as a C programmer writes them, their constants computed
 * beforehand, and loops that only move a step's bytes.
 *
 * All have one signature, so that one Rust type calls them all; a rule with fewer states than three
 * ignores the other arguments. A rule's constants are computed from its hyper-parameters `h`, in the order
 * of the Rust configuration's fields, and the number `t` of the step; and the loop's results are compared
 * with the reference's, bit by bit, before it is timed.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LOOP(name, s0, s1, s2)                                                                            \
    void name(size_t n, float *restrict w, const float *restrict g, float *restrict s0,                   \
              float *restrict s1, float *restrict s2, const float *restrict constants)

#define CONSTANTS(name) void constants_##name(const double *h, double t, float *constants)

/* Sets the loop's constants, which may be computed in double. */
#define SET(...)                                                                                          \
    do {                                                                                                  \
        const double values[] = {__VA_ARGS__};                                                            \
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {                                     \
            constants[k] = (float)values[k];                                                              \
        }                                                                                                 \
    } while (0)

CONSTANTS(sgd)
{
    SET(h[0]);
}

LOOP(plain_sgd, s0, s1, s2)
{
    const float lr = constants[0];
    for (size_t i = 0; i < n; i++) {
        w[i] -= lr * g[i];
    }
}

CONSTANTS(momentum)
{
    SET(h[0], h[1]);
}

LOOP(plain_momentum, u, s1, s2)
{
    const float lr = constants[0], momentum = constants[1];
    for (size_t i = 0; i < n; i++) {
        u[i] = momentum * u[i] + lr * g[i];
        w[i] -= u[i];
    }
}

CONSTANTS(nesterov)
{
    SET(h[0], h[1]);
}

LOOP(plain_nesterov, u, s1, s2)
{
    const float lr = constants[0], momentum = constants[1];
    for (size_t i = 0; i < n; i++) {
        u[i] = momentum * u[i] + lr * g[i];
        w[i] -= momentum * u[i] + lr * g[i];
    }
}

CONSTANTS(adagrad)
{
    SET(h[0], h[1]);
}

LOOP(plain_adagrad, s, s1, s2)
{
    const float lr = constants[0], eps = constants[1];
    for (size_t i = 0; i < n; i++) {
        s[i] += g[i] * g[i];
        w[i] -= lr * g[i] / (sqrtf(s[i]) + eps);
    }
}

CONSTANTS(adadelta)
{
    const double lr = h[0], rho = h[1], eps = h[2];
    SET(lr, rho, 1 - rho, eps);
}

LOOP(plain_adadelta, v, u, s2)
{
    const float lr = constants[0], rho = constants[1], fresh = constants[2], eps = constants[3];
    for (size_t i = 0; i < n; i++) {
        v[i] = rho * v[i] + fresh * g[i] * g[i];
        const float d = sqrtf(u[i] + eps) / sqrtf(v[i] + eps) * g[i];
        u[i] = rho * u[i] + fresh * d * d;
        w[i] -= lr * d;
    }
}

CONSTANTS(rmsprop)
{
    const double lr = h[0], alpha = h[1], eps = h[2];
    SET(lr, alpha, 1 - alpha, eps);
}

LOOP(plain_rmsprop, v, s1, s2)
{
    const float lr = constants[0], alpha = constants[1], fresh = constants[2], eps = constants[3];
    for (size_t i = 0; i < n; i++) {
        v[i] = alpha * v[i] + fresh * g[i] * g[i];
        w[i] -= lr * g[i] / (sqrtf(v[i]) + eps);
    }
}

CONSTANTS(rmsprop_momentum_centered)
{
    constants_rmsprop(h, t, constants);
    constants[4] = (float)h[3];
}

LOOP(plain_rmsprop_momentum_centered, v, g_avg, u)
{
    const float lr = constants[0], alpha = constants[1], fresh = constants[2], eps = constants[3];
    const float momentum = constants[4];
    for (size_t i = 0; i < n; i++) {
        v[i] = alpha * v[i] + fresh * g[i] * g[i];
        g_avg[i] = alpha * g_avg[i] + fresh * g[i];
        const float variance = v[i] - g_avg[i] * g_avg[i];
        u[i] = momentum * u[i] + g[i] / (sqrtf(variance < 0 ? 0 : variance) + eps);
        w[i] -= lr * u[i];
    }
}

CONSTANTS(adam)
{
    const double lr = h[0], beta1 = h[1], beta2 = h[2], eps = h[3];
    const double c1 = 1 - pow(beta1, t), c2 = 1 - pow(beta2, t);
    SET(beta1, 1 - beta1, beta2, 1 - beta2, lr / c1, 1 / sqrt(c2), eps);
}

LOOP(plain_adam, m, v, s2)
{
    const float beta1 = constants[0], fresh1 = constants[1];
    const float beta2 = constants[2], fresh2 = constants[3];
    const float a = constants[4], k = constants[5], eps = constants[6];
    for (size_t i = 0; i < n; i++) {
        m[i] = beta1 * m[i] + fresh1 * g[i];
        v[i] = beta2 * v[i] + fresh2 * g[i] * g[i];
        w[i] -= a * m[i] / (sqrtf(v[i]) * k + eps);
    }
}

CONSTANTS(adamw)
{
    const double lr = h[0], weight_decay = h[5];
    constants_adam(h, t, constants);
    constants[7] = (float)(1 - lr * weight_decay);
}

LOOP(plain_adamw, m, v, s2)
{
    const float beta1 = constants[0], fresh1 = constants[1];
    const float beta2 = constants[2], fresh2 = constants[3];
    const float a = constants[4], k = constants[5], eps = constants[6], keep = constants[7];
    for (size_t i = 0; i < n; i++) {
        m[i] = beta1 * m[i] + fresh1 * g[i];
        v[i] = beta2 * v[i] + fresh2 * g[i] * g[i];
        w[i] = w[i] * keep - a * m[i] / (sqrtf(v[i]) * k + eps);
    }
}

CONSTANTS(amsgrad)
{
    constants_adam(h, t, constants);
}

LOOP(plain_amsgrad, m, v, v_max)
{
    const float beta1 = constants[0], fresh1 = constants[1];
    const float beta2 = constants[2], fresh2 = constants[3];
    const float a = constants[4], k = constants[5], eps = constants[6];
    for (size_t i = 0; i < n; i++) {
        m[i] = beta1 * m[i] + fresh1 * g[i];
        v[i] = beta2 * v[i] + fresh2 * g[i] * g[i];
        v_max[i] = v_max[i] < v[i] ? v[i] : v_max[i];
        w[i] -= a * m[i] / (sqrtf(v_max[i]) * k + eps);
    }
}

CONSTANTS(adamax)
{
    const double lr = h[0], beta1 = h[1], beta2 = h[2], eps = h[3];
    SET(beta1, 1 - beta1, beta2, lr / (1 - pow(beta1, t)), eps);
}

LOOP(plain_adamax, m, u, s2)
{
    const float beta1 = constants[0], fresh1 = constants[1], beta2 = constants[2];
    const float a = constants[3], eps = constants[4];
    for (size_t i = 0; i < n; i++) {
        m[i] = beta1 * m[i] + fresh1 * g[i];
        const float old = beta2 * u[i], new = fabsf(g[i]) + eps;
        u[i] = old < new ? new : old;
        w[i] -= a * m[i] / u[i];
    }
}

static double nadam_momentum(double beta1, double decay, double t)
{
    return beta1 * (1 - 0.5 * pow(0.96, t * decay));
}

CONSTANTS(nadam)
{
    const double lr = h[0], beta1 = h[1], beta2 = h[2], eps = h[3], decay = h[4];
    double product = 1;
    for (double step = 1; step <= t; step++) {
        product *= nadam_momentum(beta1, decay, step);
    }
    const double now = nadam_momentum(beta1, decay, t), next = nadam_momentum(beta1, decay, t + 1);
    const double a = lr * (1 - now) / (1 - product), b = lr * next / (1 - product * next);
    SET(beta1, 1 - beta1, beta2, 1 - beta2, a, b, 1 / (1 - pow(beta2, t)), eps);
}

LOOP(plain_nadam, m, v, s2)
{
    const float beta1 = constants[0], fresh1 = constants[1];
    const float beta2 = constants[2], fresh2 = constants[3];
    const float a = constants[4], b = constants[5], inverse_c2 = constants[6], eps = constants[7];
    for (size_t i = 0; i < n; i++) {
        m[i] = beta1 * m[i] + fresh1 * g[i];
        v[i] = beta2 * v[i] + fresh2 * g[i] * g[i];
        const float r = sqrtf(v[i] * inverse_c2) + eps;
        w[i] = w[i] - a * g[i] / r - b * m[i] / r;
    }
}

CONSTANTS(lion)
{
    const double lr = h[0], beta1 = h[1], beta2 = h[2];
    SET(lr, beta1, 1 - beta1, beta2, 1 - beta2);
}

LOOP(plain_lion, m, s1, s2)
{
    const float lr = constants[0], beta1 = constants[1], fresh1 = constants[2];
    const float beta2 = constants[3], fresh2 = constants[4];
    for (size_t i = 0; i < n; i++) {
        const float c = beta1 * m[i] + fresh1 * g[i];
        w[i] -= lr * (c > 0 ? 1.0f : c < 0 ? -1.0f : 0.0f);
        m[i] = beta2 * m[i] + fresh2 * g[i];
    }
}

CONSTANTS(signum)
{
    const double lr = h[0], momentum = h[1];
    SET(lr, momentum, 1 - momentum);
}

LOOP(plain_signum, m, s1, s2)
{
    const float lr = constants[0], momentum = constants[1], fresh = constants[2];
    for (size_t i = 0; i < n; i++) {
        m[i] = momentum * m[i] + fresh * g[i];
        w[i] -= lr * (m[i] > 0 ? 1.0f : m[i] < 0 ? -1.0f : 0.0f);
    }
}

CONSTANTS(radam)
{
    /* Of a step that is late enough to divide by the second moment. */
    const double lr = h[0], beta1 = h[1], beta2 = h[2], eps = h[3];
    const double most = 2 / (1 - beta2) - 1, c2 = 1 - pow(beta2, t), rho = most - 2 * t * (1 - c2) / c2;
    const double r = sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho));
    SET(beta1, 1 - beta1, beta2, 1 - beta2, lr / (1 - pow(beta1, t)) * (r * sqrt(c2)), eps);
}

LOOP(plain_radam, m, v, s2)
{
    const float beta1 = constants[0], fresh1 = constants[1];
    const float beta2 = constants[2], fresh2 = constants[3];
    const float a = constants[4], eps = constants[5];
    for (size_t i = 0; i < n; i++) {
        m[i] = beta1 * m[i] + fresh1 * g[i];
        v[i] = beta2 * v[i] + fresh2 * g[i] * g[i];
        w[i] -= a * m[i] / (sqrtf(v[i]) + eps);
    }
}

CONSTANTS(ftrl)
{
    const double lr = h[0], beta = h[1], l1 = h[2], l2 = h[3];
    SET(1 / lr, beta, l1, l2);
}

LOOP(plain_ftrl, z, s, s2)
{
    const float a = constants[0], beta = constants[1], l1 = constants[2], l2 = constants[3];
    for (size_t i = 0; i < n; i++) {
        const float before = sqrtf(s[i]);
        s[i] += g[i] * g[i];
        const float root = sqrtf(s[i]);
        z[i] += g[i] - (root - before) * a * w[i];
        w[i] = fabsf(z[i]) <= l1 ? 0.0f : ((z[i] < 0 ? -l1 : l1) - z[i]) / ((beta + root) * a + l2);
    }
}

/*
 * The bytes of a step with this many states. The constant is 0, which the compiler cannot know: every
 * byte is read and written, and the values stay as they are for the next contestant.
 */
LOOP(stream_0, s0, s1, s2)
{
    const float zero = constants[0];
    for (size_t i = 0; i < n; i++) {
        w[i] += zero * g[i];
    }
}

LOOP(stream_1, s0, s1, s2)
{
    const float zero = constants[0];
    for (size_t i = 0; i < n; i++) {
        const float x = zero * g[i];
        w[i] += x;
        s0[i] += x;
    }
}

LOOP(stream_2, s0, s1, s2)
{
    const float zero = constants[0];
    for (size_t i = 0; i < n; i++) {
        const float x = zero * g[i];
        w[i] += x;
        s0[i] += x;
        s1[i] += x;
    }
}

LOOP(stream_3, s0, s1, s2)
{
    const float zero = constants[0];
    for (size_t i = 0; i < n; i++) {
        const float x = zero * g[i];
        w[i] += x;
        s0[i] += x;
        s1[i] += x;
        s2[i] += x;
    }
}

/*
 * What a training step does beside the update, as passes of their own over the gradients, which are the
 * first argument here.
 */
LOOP(pass_scale, s0, s1, s2)
{
    const float scale = constants[0];
    for (size_t i = 0; i < n; i++) {
        w[i] *= scale;
    }
}

LOOP(pass_zero, s0, s1, s2)
{
    for (size_t i = 0; i < n; i++) {
        w[i] = 0;
    }
}

/* With sums side by side, so that it can be vectorized; one sum alone takes five times as long. */
double sum_of_squares(size_t n, const float *g)
{
    double sums[16] = {0}, total = 0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t k = 0; k < 16; k++) {
            sums[k] += (double)g[i + k] * g[i + k];
        }
    }
    for (; i < n; i++) {
        total += (double)g[i] * g[i];
    }
    for (size_t k = 0; k < 16; k++) {
        total += sums[k];
    }
    return total;
}

/*
 * What a trainer with gradients and a model in bfloat16 does around the update, as passes of their own.
 */
static float widened(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

void pass_unscale(size_t n, float *restrict wide, const uint16_t *restrict g, float scale)
{
    for (size_t i = 0; i < n; i++) {
        wide[i] = widened(g[i]) * scale;
    }
}

void pass_cast(size_t n, uint16_t *restrict copy, const float *restrict w)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t x;
        memcpy(&x, &w[i], sizeof x);
        const uint32_t rounded = (x + 0x7fff + (x >> 16 & 1)) >> 16;
        copy[i] = (uint16_t)((x & 0x7fffffff) > 0x7f800000 ? x >> 16 | 0x40 : rounded);
    }
}

double sum_of_squares_bf16(size_t n, const uint16_t *g)
{
    double sums[16] = {0}, total = 0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t k = 0; k < 16; k++) {
            const double x = widened(g[i + k]);
            sums[k] += x * x;
        }
    }
    for (; i < n; i++) {
        total += (double)widened(g[i]) * widened(g[i]);
    }
    for (size_t k = 0; k < 16; k++) {
        total += sums[k];
    }
    return total;
}

/* The 28 bytes of Adam with a gradient and a copy in bfloat16, in one loop. The constant is 0. */
void stream_offload(size_t n, float *restrict w, const uint16_t *restrict g, float *restrict m,
                    float *restrict v, uint16_t *restrict copy, float zero)
{
    for (size_t i = 0; i < n; i++) {
        const float x = zero * (float)g[i];
        w[i] += x;
        m[i] += x;
        v[i] += x;
        copy[i] = g[i];
    }
}

/*
 * The bytes of any step, some of each array in turn: `step` bytes of it belong to a piece of the tensor. `zero` is 0. Gives
 * something of all that was read.
 */
struct moved {
    unsigned char *data;
    size_t bytes, step;
    enum { READ, UPDATED, WRITTEN } how;
};

uint32_t stream_bytes(size_t pieces, size_t arrays, const struct moved *moved, uint32_t zero)
{
    uint32_t all = 0;
    for (size_t piece = 0; piece < pieces; piece++) {
        for (size_t k = 0; k < arrays; k++) {
            const size_t before = piece * moved[k].step;
            const size_t start = before < moved[k].bytes ? before : moved[k].bytes;
            const size_t left = moved[k].bytes - start;
            const size_t words = (left < moved[k].step ? left : moved[k].step) / 4;
            uint32_t *restrict x = (uint32_t *)(moved[k].data + start);
            switch (moved[k].how) {
            case READ:
                for (size_t i = 0; i < words; i++) {
                    all ^= x[i];
                }
                break;
            case UPDATED:
                for (size_t i = 0; i < words; i++) {
                    x[i] += zero;
                }
                break;
            case WRITTEN:
                for (size_t i = 0; i < words; i++) {
                    x[i] = zero;
                }
                break;
            }
        }
    }
    return all;
}

/*
 * Rows of a table, one after another as they are listed: by the plain loop of a rule; and a loop that only moves their bytes,
 * and asks for the rows that come `ahead`. `zero` is 0.
 */
typedef void step_loop(size_t n, float *restrict w, const float *restrict g, float *restrict s0,
                       float *restrict s1, float *restrict s2, const float *restrict constants);

void rows_stepped(step_loop *step, size_t count, const int64_t *rows, size_t length, size_t states,
                  float *const *tables, const float *g, const float *constants)
{
    for (size_t k = 0; k < count; k++) {
        const size_t first = (size_t)rows[k] * length;
        step(length, tables[0] + first, g + k * length, states > 0 ? tables[1] + first : NULL,
             states > 1 ? tables[2] + first : NULL, NULL, constants);
    }
}

void rows_moved(size_t count, const int64_t *rows, size_t length, size_t states, float *const *tables,
                const float *g, size_t ahead, float zero)
{
    for (size_t k = 0; k < count; k++) {
        if (k + ahead < count) {
            const size_t next = (size_t)rows[k + ahead] * length;
            for (size_t i = 0; i < length; i += 16) {
                for (size_t a = 0; a <= states; a++) {
                    __builtin_prefetch(tables[a] + next + i, 1);
                }
                __builtin_prefetch(g + (k + ahead) * length + i, 0);
            }
        }
        const size_t first = (size_t)rows[k] * length;
        const float *restrict row_g = g + k * length;
        for (size_t a = 0; a <= states; a++) {
            float *restrict row = tables[a] + first;
            for (size_t i = 0; i < length; i++) {
                row[i] += zero * row_g[i];
            }
        }
    }
}
