// Describes a dtype and an order to a kernel: how raw bits fold into an unsigned integer, and two
// constants that map the folded bits to codes.
//
// Invariant: includes nothing, and names no dtype: core/dtype.hpp does.
#ifndef WARP_BITONIC_SORT_CORE_ORDER_HPP_
#define WARP_BITONIC_SORT_CORE_ORDER_HPP_

namespace warp_bitonic_sort {

// How raw bits fold into an unsigned integer; see core/codec.hpp.
enum class codec_kind : int { integer, ieee, fnuz };

// code = (folded bits ^ key_xor) + key_add, modulo 2^bits.
struct order_constants {
  unsigned long long key_xor;
  unsigned long long key_add;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_ORDER_HPP_
