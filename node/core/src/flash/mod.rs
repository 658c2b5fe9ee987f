//! State that survives power cuts, in NOR flash.
