// What-ifs by name: a model with another cache shape, everything else kept.
//
// A shape is parts joined by '+', applied left to right: "mqa+cla-2+kivi-4". Parts are heads (mha, gqa-8,
// mla), sharing (cla-2, yoco-1024, lckv-2), retention (window-4096, local-5-1024, sinks-4-1020) and number
// formats (fp8, int4). A part replaces what the model said of that aspect; weights follow (fewer heads, fewer
// projections), quality does not: no model was trained that way.
#pragma once

#include <string>
#include <vector>

#include "models/transformer/kv_precision.hpp"
#include "models/transformer/model.hpp"

namespace tessera {

struct ShapePart {
  const char* name;    // before the numbers
  const char* syntax;  // "local-K-W"
  const char* doc;
};
const std::vector<ShapePart>& shape_parts();

struct ShapedModel {
  std::string shape;
  Model model;
  KvPrecision precision;
};

// Throws InputError for a part that is not known (with a suggestion) or that the model cannot take.
ShapedModel apply_shape(const Model& model, const std::string& shape, const std::string& kv_dtype = "auto");

}  // namespace tessera
