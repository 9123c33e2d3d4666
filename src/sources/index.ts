import type { RegistryType } from './registry.ts';

/** The types of service registries that the released program knows. */
export const registryTypes: readonly RegistryType[] = [];
