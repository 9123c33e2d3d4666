import type { z } from 'zod';

/** What one kind of service registry adds to the custom resources. */
export interface RegistrySection {
  /** `spec.type` of a ServiceRegistry, for example `Consul`. */
  readonly type: string;
  /** Its field in the spec of a ServiceRegistry, and in a backend if it has `backendSchema`. */
  readonly section: string;
  /** Servers, credentials and scope. */
  readonly registrySchema: z.ZodType;
  /** What a backend may say to this kind of registry alone. */
  readonly backendSchema?: z.ZodType;
}
