import { type GatewayAccess, resolveConnection } from '../../gateways/connect.ts';
import type { GatewayDriver } from '../../gateways/driver.ts';
import type { Vendor } from '../../gateways/vendor.ts';
import { OperatorError } from '../../model/errors.ts';
import type { GatewayConnection } from '../../model/objects.ts';
import { isObject } from '../../runtime/json.ts';
import type { Stores } from './kinds.ts';
import { PlanError } from './plan-error.ts';
import type { GatewayListing } from './planned.ts';

/** Lists the upstreams of every gateway with one request each. Never rejects: failures are part of the result. */
export async function listGateways(
  vendorOf: (type: string) => Vendor,
  { connections, secrets }: Pick<Stores, 'connections' | 'secrets'>,
  access: GatewayAccess,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, GatewayListing>> {
  const listings = [...connections.list()].map(async (connection): Promise<[string, GatewayListing]> => {
    const secretNamed = (name: string) => secrets.get(access.operatorNamespace, name);
    const resolved = resolveConnection(vendorOf, connection, secretNamed, access);
    if (resolved.kind === 'unusable') return [connection.name, failed(resolved.message)];
    let driver: GatewayDriver;
    try {
      driver = resolved.createDriver(() => false);
    } catch (error) {
      return [connection.name, failed(error instanceof Error ? error.message : 'its settings are invalid')];
    }
    try {
      const { upstreams, info } = await driver.list(signal);
      const { canonical, read } = resolved.vendor.format;
      return [connection.name, { kind: 'listed', upstreams, info, canonical, read }];
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error;
      return [connection.name, failed(error.message)];
    } finally {
      driver.close();
    }
  });
  return new Map(await Promise.all(listings));
}

/**
 * Reads upstreams from `state`: the response of a gateway that lists its upstreams, or a mapping of GatewayConnection names to
 * such responses. Throws `PlanError` if it is neither.
 */
export function parseListings(
  vendorOf: (type: string) => Vendor,
  state: unknown,
  source: string,
  connections: readonly GatewayConnection[],
): ReadonlyMap<string, GatewayListing> {
  const byConnection = isListing(state) ? { [onlyOne(source, connections)]: state } : state;
  if (!isObject(byConnection)) {
    throw new PlanError(
      `${source} contains no list of upstreams: expected the response of GET /apisix/admin/upstreams, or a mapping of GatewayConnection names to such responses`,
    );
  }
  const names = new Set(connections.map(({ name }) => name));
  const stray = Object.keys(byConnection).find((name) => !names.has(name));
  if (stray !== undefined) {
    throw new PlanError(
      `${source} contains a list for GatewayConnection ${stray}, which does not exist: correct the name`,
    );
  }
  return new Map(
    connections.map((connection): [string, GatewayListing] => {
      const { name, spec } = connection;
      if (!spec.ok) return [name, failed(`GatewayConnection ${name} is not valid: ${spec.message}`)];
      const body = byConnection[name];
      if (body === undefined)
        return [
          name,
          failed(`${source} contains no list for this GatewayConnection: add one under the key ${name}`),
        ];
      const { format } = vendorOf(spec.value.type);
      try {
        const version = connection.status?.gatewayVersion;
        const info = version === undefined ? {} : { version };
        const { canonical, read } = format;
        return [name, { kind: 'listed', upstreams: format.listed(body), info, canonical, read }];
      } catch (error) {
        if (!(error instanceof OperatorError)) throw error;
        throw new PlanError(`${source}, list of ${name}: ${error.message}`);
      }
    }),
  );
}

/** APISIX returns `{"list": [...]}`, or `{"list": {}}` for an empty page. A GatewayConnection may also have the name `list`. */
function isListing(state: unknown): boolean {
  const list = isObject(state) ? state['list'] : undefined;
  return Array.isArray(list) || (isObject(list) && Object.keys(list).length === 0);
}

function onlyOne(source: string, connections: readonly GatewayConnection[]): string {
  const [only, ...others] = connections;
  if (only === undefined || others.length > 0) {
    throw new PlanError(
      `${source} contains the list of one gateway, but there are ${connections.length} GatewayConnections: use a mapping of GatewayConnection names to lists`,
    );
  }
  return only.name;
}

function failed(message: string): GatewayListing {
  return { kind: 'failed', message };
}
