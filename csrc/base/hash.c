#include "base/base.h"

uint64_t hash_bytes(struct slice s, uint64_t seed)
{
    uint64_t h = seed ^ ((uint64_t)s.n * 0x9e3779b97f4a7c15u);
    const uint8_t *p = s.p;
    uint32_t n = s.n;
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
