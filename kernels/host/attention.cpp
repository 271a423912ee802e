#include "kernels/host/attention.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include "kernels/host/row_math.hpp"

namespace tessera::host {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

// std::normal_distribution differs between libraries; the sum of four uniforms, scaled, does not.
float bell(std::mt19937_64& random) {
  const std::uint64_t bits = random();
  std::int64_t sum = -2 * 65536;
  for (int i = 0; i < 4; ++i) sum += static_cast<std::int64_t>(bits >> (16 * i) & 0xffff);
  return static_cast<float>(sum) * (0x1p-16f * 1.7320508f);  // variance 4 / 12, scaled to 1
}

// Queries and outputs [token, head, d], seen by a program that packs `group` heads into a plane.
HostTensor::Address query_view(const AttentionInputs& in, int group, int columns) {
  const int q_heads = in.problem.q_heads, heads = q_heads / group;
  return [&in, group, columns, q_heads, heads](std::int64_t plane, std::int64_t row) {
    const std::int64_t token = in.first_query[index(plane / heads)] + row / group;
    return (token * q_heads + plane % heads * group + row % group) * columns;
  };
}

// Keys [token, head, d].
HostTensor::Address key_view(const AttentionInputs& in, int columns) {
  const int heads = in.problem.kv_heads;
  return [&in, heads, columns](std::int64_t plane, std::int64_t row) {
    return ((in.first_key[index(plane / heads)] + row) * heads + plane % heads) * columns;
  };
}

// Keys [page, token, head, d]: page j of a sequence lies where the table says.
struct BlockTable {
  explicit BlockTable(const AttentionInputs& in) : page(in.problem.page_tokens) {
    for (const AttentionSequence& s : in.problem.sequences)
      first.push_back(first.back() + tiles_of(s.keys, page));
    table.resize(index(first.back()));
    std::iota(table.begin(), table.end(), std::int64_t{0});
    std::mt19937_64 random(in.seed);
    for (std::size_t i = table.size(); i > 1; --i) std::swap(table[i - 1], table[random() % i]);
  }
  [[nodiscard]] HostTensor::Address view(int heads, int columns) const {
    return [this, heads, columns](std::int64_t plane, std::int64_t row) {
      const std::int64_t block = table[index(first[index(plane / heads)] + row / page)];
      return ((block * page + row % page) * heads + plane % heads) * columns;
    };
  }
  std::int64_t page;
  std::vector<std::int64_t> first{0}, table;
};

HostTensor::Address flat(int columns) {
  return [columns](std::int64_t, std::int64_t row) { return row * columns; };
}

void fill(HostTensor& tensor, const std::vector<float>& values, int columns) {
  for (std::size_t i = 0; i < values.size(); ++i)
    tensor.write(0, static_cast<std::int64_t>(i) / columns, static_cast<std::int64_t>(i) % columns,
                 values[i]);
}

// Everything the kernels of one call share.
struct Stage {
  Stage(const AttentionInputs& inputs, int packed_group, Precision chosen, int statistics)
      : in(inputs), precision(chosen), group(packed_group) {
    const AttentionProblem& p = in.problem;
    const std::int64_t rows = in.first_query.back() * p.q_heads;
    memory[Tensor::q] = tensor(rows, p.head_dim, Format::fp32, p.element_bytes, flat(p.head_dim));
    fill(memory[Tensor::q], in.q, p.head_dim);
    memory[Tensor::q].view(query_view(in, group, p.head_dim));
    memory[Tensor::o] = output();
    memory[Tensor::lse] = tensor(rows, statistics, Format::fp32, 4, query_view(in, group, statistics));
    memory[Tensor::k] = keys(p.head_dim, in.k);
    memory[Tensor::v] = keys(p.v_head_dim, in.v);
    if (!in.seen.empty()) {
      std::int64_t most = 0;
      for (const AttentionSequence& s : p.sequences) most = std::max(most, s.keys);
      const auto sequences = static_cast<std::int64_t>(p.sequences.size());
      memory[Tensor::mask] = HostTensor::planes(sequences, 1, static_cast<int>(most), Format::fp32, 1);
      for (std::int64_t s = 0; s < sequences; ++s)
        for (std::int64_t key = 0; key < p.sequences[index(s)].keys; ++key)
          memory[Tensor::mask].write(s, 0, key, in.hidden(s, key) ? 0.0f : 1.0f);
    }
  }

  static HostTensor tensor(std::int64_t rows, int columns, Format format, double bytes,
                           HostTensor::Address address) {
    return {rows * columns, columns, format, bytes, std::move(address)};
  }
  [[nodiscard]] HostTensor output() const {
    const AttentionProblem& p = in.problem;
    return tensor(in.first_query.back() * p.q_heads, p.v_head_dim, precision.stored, p.element_bytes,
                  query_view(in, group, p.v_head_dim));
  }
  [[nodiscard]] HostTensor keys(int columns, const std::vector<float>& values) const {
    const AttentionProblem& p = in.problem;
    HostTensor t =
        tensor(in.first_key.back() * p.kv_heads, columns, Format::fp32, p.kv_element_bytes, flat(columns));
    fill(t, values, columns);
    t.view(key_view(in, columns));
    return t;
  }
  // Moves the keys that came before this step into pages, the new ones to where the model left them.
  void page(const BlockTable& table) {
    const AttentionProblem& p = in.problem;
    for (const auto& [cache, fresh, width] : {std::tuple{Tensor::k, Tensor::k_new, p.head_dim},
                                              std::tuple{Tensor::v, Tensor::v_new, p.v_head_dim}}) {
      const HostTensor dense = std::move(memory[cache]);
      HostTensor& pages = memory[cache];
      pages = tensor(static_cast<std::int64_t>(table.table.size()) * p.page_tokens * p.kv_heads, width,
                     Format::fp32, p.kv_element_bytes, table.view(p.kv_heads, width));
      const int row = width * p.kv_heads;
      memory[fresh] = tensor(in.first_query.back(), row, Format::fp32, p.element_bytes, flat(row));
      for (std::size_t s = 0; s < p.sequences.size(); ++s) {
        const std::int64_t history = p.sequences[s].keys - p.sequences[s].queries;
        for (std::int64_t key = 0; key < p.sequences[s].keys; ++key)
          for (int i = 0; i < row; ++i) {
            const std::int64_t plane = static_cast<std::int64_t>(s) * p.kv_heads + i / width;
            const float value = dense.at(plane, key, i % width);
            if (key < history)
              pages.write(plane, key, i % width, value);
            else
              memory[fresh].write(0, in.first_query[s] + key - history, i, value);
          }
      }
    }
  }
  [[nodiscard]] std::vector<float> result(Tensor where) const {
    const AttentionProblem& p = in.problem;
    HostTensor o = memory[where];
    o.view(flat(p.v_head_dim));
    std::vector<float> values;
    for (std::int64_t row = 0; row < in.first_query.back() * p.q_heads; ++row) {
      const float* first = o.row(0, row, 0, p.v_head_dim);
      values.insert(values.end(), first, first + p.v_head_dim);
    }
    return values;
  }

  const AttentionInputs& in;
  Precision precision;
  int group;
  HostMemory memory;
};

}  // namespace

const float* AttentionInputs::query(std::int64_t sequence, std::int64_t i, std::int64_t head) const {
  return q.data() + ((first_query[index(sequence)] + i) * problem.q_heads + head) * problem.head_dim;
}
const float* AttentionInputs::key(std::int64_t sequence, std::int64_t i, std::int64_t kv_head) const {
  return k.data() + ((first_key[index(sequence)] + i) * problem.kv_heads + kv_head) * problem.head_dim;
}
const float* AttentionInputs::value(std::int64_t sequence, std::int64_t i, std::int64_t kv_head) const {
  return v.data() + ((first_key[index(sequence)] + i) * problem.kv_heads + kv_head) * problem.v_head_dim;
}
bool AttentionInputs::hidden(std::int64_t sequence, std::int64_t key) const {
  return !seen.empty() && seen[index(first_key[index(sequence)] + key)] == 0;
}

AttentionInputs random_inputs(const AttentionProblem& problem, Format format, std::uint64_t seed) {
  AttentionInputs in;
  in.problem = problem;
  in.seed = seed;
  for (const AttentionSequence& s : problem.sequences) {
    in.first_query.push_back(in.first_query.back() + s.queries);
    in.first_key.push_back(in.first_key.back() + s.keys);
  }
  std::mt19937_64 random(seed);
  const auto draw = [&](std::vector<float>& values, std::int64_t count) {
    values.resize(index(count));
    for (float& x : values) x = rounded(bell(random), format);
  };
  draw(in.q, in.first_query.back() * problem.q_heads * problem.head_dim);
  draw(in.k, in.first_key.back() * problem.kv_heads * problem.head_dim);
  draw(in.v, in.first_key.back() * problem.kv_heads * problem.v_head_dim);
  return in;
}

AttentionRun run_attention(const FlashLaunch& launch, const AttentionInputs& inputs, Precision precision) {
  const FlashForward& f = launch.forward;
  const AttentionProblem& p = inputs.problem;
  Stage stage(inputs, f.group(), precision, 1);
  HostMemory& memory = stage.memory;
  const std::int64_t rows = inputs.first_query.back() * p.q_heads;
  if (!launch.copies_before.empty()) {  // Q comes as the model left it
    memory[Tensor::q_input] = memory[Tensor::q];
    memory[Tensor::q_input].view(flat(p.head_dim));
    memory[Tensor::q] = Stage::tensor(rows, p.head_dim, Format::fp32, p.element_bytes,
                                      query_view(inputs, f.group(), p.head_dim));
  }
  memory[Tensor::o_output] = stage.output();
  memory[Tensor::o_output].view(flat(p.v_head_dim));
  memory[Tensor::lse_output] = Stage::tensor(rows, 1, Format::fp32, 4, flat(1));
  if (f.most_splits > 1) {
    std::int64_t height = 0;
    for (std::int64_t s = 0; s < static_cast<std::int64_t>(p.sequences.size()); ++s)
      height = std::max(height, f.rows(s));
    const std::int64_t planes = f.planes() * f.most_splits;
    memory[Tensor::o_partial] = HostTensor::planes(planes, height, p.v_head_dim, Format::fp32, 4);
    memory[Tensor::lse_partial] = HostTensor::planes(planes, height, 1, Format::fp32, 4);
  }
  AttentionRun result;
  std::optional<BlockTable> table;
  if (p.page_tokens > 0) stage.page(table.emplace(inputs));
  if (launch.kv_write) {
    KvWriteMath math(*launch.kv_write);
    result.traffic += run(*launch.kv_write, math, memory);
  }
  const auto copy = [&](const RowCopy& program) {
    RowCopyMath math(program);
    result.traffic += run(program, math, memory);
  };
  for (const RowCopy& c : launch.copies_before) copy(c);
  ForwardMath math(f, precision.probabilities);
  result.traffic += run(f, math, memory);
  if (launch.combine) {
    CombineMath join(*launch.combine);
    result.traffic += run(*launch.combine, join, memory);
  }
  for (const RowCopy& c : launch.copies_after) copy(c);
  result.output = stage.result(launch.copies_after.empty() ? Tensor::o : Tensor::o_output);
  return result;
}

AttentionRun run_attention(const StandardAttention& launch, const AttentionInputs& inputs,
                           Precision precision) {
  const AttentionProblem& p = inputs.problem;
  Stage stage(inputs, 1, precision, 1);
  std::int64_t rows = 0, keys = 0;
  for (const AttentionSequence& s : p.sequences)
    rows = std::max(rows, s.queries), keys = std::max(keys, s.keys);
  const auto planes = static_cast<std::int64_t>(p.sequences.size()) * p.q_heads;
  for (const Tensor t : {Tensor::scores, Tensor::probabilities, Tensor::dropped})
    stage.memory[t] =
        HostTensor::planes(planes, rows, static_cast<int>(keys), precision.stored, p.element_bytes);
  stage.memory[Tensor::dropout] = HostTensor::planes(planes, rows, static_cast<int>(keys), Format::fp32, 1);
  AttentionRun result;
  for (const StandardKernel& kernel : launch.kernels) {
    StandardMath math(kernel, inputs.dropout);
    result.traffic += run(kernel, math, stage.memory);
  }
  result.output = stage.result(Tensor::o);
  return result;
}

AttentionRun run_attention(const FlashAttention1& program, const AttentionInputs& inputs,
                           Precision precision) {
  Stage stage(inputs, 1, precision, 2);
  FlashAttention1Math math(program, precision.probabilities, inputs.dropout);
  AttentionRun result;
  result.traffic = run(program, math, stage.memory);
  result.output = stage.result(Tensor::o);
  return result;
}

}  // namespace tessera::host
