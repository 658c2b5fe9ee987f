/**
 * A second entry that the tools compile along: it says where a capsule's static data ends, which is
 * all the memory that a capsule needs that allocates nothing. It is taken out of the packed module.
 */
export { __heap_base };
