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

/** Which instances of a service a backend uses, and how. It applies to every type of registry. */
export interface InstanceChoice {
  /** An instance must have every key, with one of its values. */
  readonly metadata: Readonly<Record<string, readonly string[]>>;
  readonly weights: 'Registry' | 'Equal';
  /** Key of the metadata entry that is the port; absent for the port that the registry lists. */
  readonly portKey?: string;
}

/** The fields of a backend that refers to a registry. */
export interface RegistryBackend {
  readonly registry: string;
  readonly service: string;
  readonly choice: InstanceChoice;
  /** The sections of the registry types by name. */
  readonly options: Readonly<Record<string, unknown>>;
}

interface RegistryFields {
  readonly registryRef?: { readonly name: string };
  readonly service?: string;
  readonly metadata?: InstanceChoice['metadata'];
  readonly weights?: InstanceChoice['weights'];
  readonly portFrom?: { readonly metadata: string };
}

/** The registry fields of a parsed backend; undefined for a backend of another kind. */
export function registryBackendOf(backend: object): RegistryBackend | undefined {
  const { registryRef, service, metadata, weights, portFrom, ...others } = backend as RegistryFields &
    Readonly<Record<string, unknown>>;
  if (registryRef === undefined) return undefined;
  const { serviceRef, serviceName, addresses, addressing, weight, ...options } = others;
  return {
    registry: registryRef.name,
    service: service ?? '',
    choice: {
      metadata: metadata ?? {},
      weights: weights ?? 'Registry',
      ...(portFrom === undefined ? {} : { portKey: portFrom.metadata }),
    },
    options,
  };
}
