import { FaultProxy, type RegistryFault } from '../../test/support/registries/fault-proxy.ts';
import { serve } from '../remote.ts';

/** A proxy between the operator and the registry that counts requests, in its own process. */

let proxy: FaultProxy | undefined;
let fault: Disposable | undefined;

const handlers = {
  /** Resolves to the URL of the proxy. */
  async start(target: string): Promise<string> {
    proxy = await FaultProxy.start(new URL(target));
    return proxy.url;
  },
  /** The number of requests so far. */
  requests: () => started().requestsFor(''),
  /** Closes every connection. */
  cut: () => started().cut(),
  fail(kind: RegistryFault) {
    fault = started().fail(kind);
  },
  repair() {
    fault?.[Symbol.dispose]();
    fault = undefined;
  },
};

export type ProxyHandlers = typeof handlers;

serve(handlers);

function started(): FaultProxy {
  if (proxy === undefined) throw new Error('the proxy has not started');
  return proxy;
}
