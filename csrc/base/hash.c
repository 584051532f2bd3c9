#include "base/base.h"

enum { LANES = 4, STRIPE = 8 * LANES };

static uint64_t stir(uint64_t lane, uint64_t word)
{
    uint64_t h = (lane ^ word) * 0x9e3779b97f4a7c15u; /* odd, so no two words give one lane */
    return h << 29 | h >> 35;
}

/* Long runs of bytes: four lanes, that none of them waits for the other's product; written out, so that they stay in registers. */
static uint64_t hash_stripes(const uint8_t *p, uint32_t stripes, uint64_t h)
{
    uint64_t a = h, b = h + 1, c = h + 2, d = h + 3;
    for (; stripes > 0; stripes--, p += STRIPE) {
        a = stir(a, load_u64(p));
        b = stir(b, load_u64(p + 8));
        c = stir(c, load_u64(p + 16));
        d = stir(d, load_u64(p + 24));
    }
    h = hash_u64(h ^ a);
    h = hash_u64(h ^ b);
    h = hash_u64(h ^ c);
    return hash_u64(h ^ d);
}

uint64_t hash_bytes(struct slice s, uint64_t seed)
{
    uint64_t h = seed ^ ((uint64_t)s.n * 0x9e3779b97f4a7c15u);
    const uint8_t *p = s.p;
    uint32_t n = s.n;
    if (n >= 4 * STRIPE) {
        h = hash_stripes(p, n / STRIPE, h);
        p += n / STRIPE * STRIPE;
        n %= STRIPE;
    }
    for (; n >= 8; p += 8, n -= 8)
        h = hash_u64(h ^ load_u64(p));
    uint64_t rest = 0;
    if (n != 0 && s.n >= 8) /* the last bytes by one load that ends with them */
        rest = load_u64(p + n - 8) >> (64 - 8 * n);
    else
        for (uint32_t i = 0; i < n; i++)
            rest |= (uint64_t)p[i] << (8 * i);
    return hash_u64(h ^ rest ^ ((uint64_t)n << 56));
}
