import type { ApisixOptions } from './apisix/client.ts';
import { createApisixDriver } from './apisix/driver.ts';
import type { GatewayDriver } from './driver.ts';

/** What a driver is made from, by the `type` of its GatewayConnection. */
export type GatewayOptions = { readonly type: 'APISIX' } & ApisixOptions;

/** One line per driver. Throws an `Error` that says what is wrong with the options. */
const factories: {
  readonly [T in GatewayOptions['type']]: (options: Extract<GatewayOptions, { type: T }>) => GatewayDriver;
} = {
  APISIX: createApisixDriver,
};

export function createGatewayDriver(options: GatewayOptions): GatewayDriver {
  return factories[options.type](options);
}
