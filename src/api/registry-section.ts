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

/** The fields of a backend that leads to a registry, sections by their names; undefined for every other backend. */
export interface RegistryBackend {
  readonly registry: string;
  readonly service: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** As the schema made it of `backend`, whose type does not know the fields that registries add. */
export function registryBackendOf(backend: object): RegistryBackend | undefined {
  const { registryRef, service, serviceRef, serviceName, addresses, addressing, weight, ...options } =
    backend as Readonly<Record<string, unknown>> & {
      readonly registryRef?: { readonly name: string };
      readonly service?: string;
    };
  return registryRef === undefined
    ? undefined
    : { registry: registryRef.name, service: service ?? '', options };
}
