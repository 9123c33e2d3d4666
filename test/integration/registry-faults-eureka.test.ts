import { EUREKA_USER, EurekaServer } from '../support/registries/eureka-server.ts';
import { ReadBarrier } from '../support/registries/read-barrier.ts';
import type { RegistryUnderTest } from '../support/registries/registry-under-test.ts';
import { testRegistryFaults } from './registry-faults.ts';

async function startEureka(): Promise<RegistryUnderTest> {
  await using started = new AsyncDisposableStack();
  const server = started.use(await EurekaServer.start());
  const barrier = started.use(await ReadBarrier.start(server.url));
  const owned = started.move();
  return {
    url: barrier.url,
    type: 'Eureka',
    register: (service, instances) =>
      barrier.during(() =>
        server.register(
          service,
          instances.map(({ address, ready = true }) => ({
            ip: address,
            port: 8080,
            status: ready ? 'UP' : 'DOWN',
          })),
        ),
      ),
    touch: (service, address) =>
      server.update(service, {
        ip: address,
        port: 8080,
        status: 'UP',
        metadata: { touched: `${performance.now()}` },
      }),
    kill: () => server.kill(),
    start: () => server.start(),
    spec: (servers, secret) => ({
      type: 'Eureka',
      eureka: {
        servers: servers.map((url) => `${url}/eureka`),
        usernameSecretRef: { name: secret },
        passwordSecretRef: { name: secret },
      },
    }),
    credentials: async () => EUREKA_USER,
    unknown: { username: 'unknown', password: 'unknown' },
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}

testRegistryFaults({ name: 'Eureka', start: startEureka });
