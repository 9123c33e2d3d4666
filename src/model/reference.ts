import type { Protocol } from './endpoint.ts';

/** What a backend refers to, by the source that answers for it. */
export type Reference = ServicePortRef | RegistryServiceRef;

/** One service of one ServiceRegistry. */
export interface RegistryServiceRef {
  readonly source: 'Registry';
  /** Name of the ServiceRegistry. */
  readonly registry: string;
  readonly service: string;
  /** What the backend says to one type of registry alone, by its section. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** One port of one Service. */
export interface ServicePortRef {
  readonly source: 'Kubernetes';
  readonly namespace: string;
  readonly name: string;
  readonly port: PortRef;
  readonly protocol: Protocol;
}

/**
 * - `servicePort`: one of the Service's own ports, by number or name.
 * - `endpointPort`: as APISIX's discovery reads it: a name is that of the endpoint port, a number that of an unnamed one.
 */
export type PortRef =
  | { readonly by: 'servicePort'; readonly port: number | string }
  | { readonly by: 'endpointPort'; readonly port: string };
