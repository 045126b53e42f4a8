/*
 * What the steps are compared with: plain loops as a C programmer writes them, their constants computed
 * beforehand, and loops that only move a step's bytes.
 *
 * All have one signature, so that one Rust type calls them all; a rule with fewer states than three
 * ignores the other arguments.
 */
#include <math.h>
#include <stddef.h>

#define LOOP(name, s0, s1, s2)                                                                            \
    void name(size_t n, float *restrict w, const float *restrict g, float *restrict s0,                   \
              float *restrict s1, float *restrict s2, const float *restrict constants)

LOOP(plain_sgd, s0, s1, s2)
{
    const float lr = constants[0];
    for (size_t i = 0; i < n; i++) {
        w[i] -= lr * g[i];
    }
}

LOOP(plain_momentum, u, s1, s2)
{
    const float lr = constants[0], momentum = constants[1];
    for (size_t i = 0; i < n; i++) {
        u[i] = momentum * u[i] + lr * g[i];
        w[i] -= u[i];
    }
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

/*
 * The bytes of a step with so many states. The constant is 0, which the compiler cannot know: every
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
