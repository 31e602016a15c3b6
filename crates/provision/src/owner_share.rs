//! How many clones one of several owners may have.

/// The most clones of one owner where there are several: three quarters, and one in any case.
#[must_use]
pub fn most_of_one_owner(max_clones: usize) -> usize {
    (max_clones.saturating_mul(3) / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_owners_never_has_all_places_but_where_there_is_one() {
        for (all, most) in [(1, 1), (2, 1), (3, 2), (4, 3), (20, 15), (1000, 750)] {
            assert_eq!(most_of_one_owner(all), most, "{all}");
        }
    }
}
