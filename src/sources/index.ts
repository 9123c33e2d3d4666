import type { RegistryType } from './registry.ts';

/** The built-in registry types. */
export const registryTypes: readonly RegistryType[] = [];
