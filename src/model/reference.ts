import type { Protocol } from './endpoint.ts';

/** One port of one Service. */
export interface ServicePortRef {
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
