import type { z } from 'zod';

/** What one type of service registry adds to the custom resources. */
export interface RegistrySection {
  /** `spec.type` of a ServiceRegistry, for example `Consul`. */
  readonly type: string;
  /** Name of its field in the spec of a ServiceRegistry, and in a backend if `backendSchema` is set. */
  readonly section: string;
  /** Schema of that field in a ServiceRegistry: servers, credentials and scope. */
  readonly registrySchema: z.ZodType;
  /** Schema of that field in a backend: settings for this type of registry only. */
  readonly backendSchema?: z.ZodType;
}

/** The fields of a backend that refers to a registry. `options` has the sections of the registry types by name. */
export interface RegistryBackend {
  readonly registry: string;
  readonly service: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** The registry fields of a parsed backend; undefined for a backend of another kind. */
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
