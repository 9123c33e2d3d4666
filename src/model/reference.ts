import type { Protocol } from './endpoint.ts';

/** What a backend refers to, by discovery source. */
export type Reference = ServicePortRef | RegistryServiceRef;

/** One service of one ServiceRegistry. */
export interface RegistryServiceRef {
  readonly source: 'Registry';
  /** Name of the ServiceRegistry. */
  readonly registry: string;
  readonly service: string;
  /** Settings for one type of registry, by the name of its section. */
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
 * - `servicePort`: a port of the Service, by number or name.
 * - `endpointPort`: as in the discovery of APISIX: the name of an endpoint port, or the number of an unnamed one.
 */
export type PortRef =
  | { readonly by: 'servicePort'; readonly port: number | string }
  | { readonly by: 'endpointPort'; readonly port: string };
