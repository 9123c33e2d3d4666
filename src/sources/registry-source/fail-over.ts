import type { RegistryObserver } from '../registry.ts';
import {
  type InstancesAnswer,
  type InstancesRequest,
  RegistryError,
  type RegistryProtocol,
} from './protocol.ts';
import type { Servers } from './servers.ts';

export interface FailOverDeps<Instance, Cursor> {
  readonly protocol: RegistryProtocol<Instance, Cursor>;
  readonly servers: Servers;
  readonly observer: RegistryObserver;
}

export interface FailOverAnswer<Instance, Cursor> extends InstancesAnswer<Instance, Cursor> {
  readonly server: URL;
}

export interface FailOverOptions {
  /** One server may reject credentials that the others accept: its configuration is wrong, or it lags behind. */
  readonly triesOthersWhenUnauthorized?: boolean;
}

/** Tries each server once, beginning with the one that answered last. Rejects with the error of the last one. */
export async function askOneServer<Instance, Cursor>(
  deps: FailOverDeps<Instance, Cursor>,
  request: Omit<InstancesRequest<Cursor>, 'server'>,
  signal: AbortSignal,
  { triesOthersWhenUnauthorized = false }: FailOverOptions = {},
): Promise<FailOverAnswer<Instance, Cursor>> {
  const { observer, protocol, servers } = deps;
  let { waitMs } = request;
  for (let left = servers.count; ; left -= 1) {
    const server = servers.current;
    try {
      return { ...(await protocol.ask({ ...request, server, waitMs }, signal)), server };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RegistryError)) throw error;
      observer.failed(error.reason);
      const isOfServer =
        error.scope === 'server' || (triesOthersWhenUnauthorized && error.reason === 'Unauthorized');
      if (!isOfServer) throw error;
      servers.failed(server);
      if (left === 1) throw error;
      waitMs = 0;
    }
  }
}
