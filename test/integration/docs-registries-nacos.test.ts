import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DocStage, pageBlocks } from '../support/registries/doc-stage.ts';
import { NACOS_USER, NacosServer } from '../support/registries/nacos-server.ts';

const EXAMPLE_URL = 'http://nacos.example.com:8848';

/** A reader who sets up Nacos. The steps depend on each other. */
describe('docs/registry-nacos.md', () => {
  const blocks = pageBlocks('registry-nacos.md');
  let stage: DocStage;
  let nacos: NacosServer;

  beforeAll(async () => {
    nacos = await NacosServer.start();
    stage = await DocStage.start({});
    await nacos.register('orders', [
      { ip: '10.2.0.1', port: 8080, healthy: true, enabled: true, weight: 0.5 },
      { ip: '10.2.0.2', port: 8080, healthy: true, enabled: true, weight: 1 },
    ]);
  }, 900_000);

  afterAll(async () => {
    await stage?.[Symbol.asyncDispose]();
    await nacos?.[Symbol.asyncDispose]();
  });

  it.each(blocks.map((script, index) => [index + 1, script] as const))('block %i', async (_, script) => {
    const output = await stage.run(script.replaceAll(EXAMPLE_URL, nacos.url.origin), {
      NACOS_URL: `${nacos.url.origin}/nacos`,
      NACOS_ADMIN_PASSWORD: NACOS_USER.password,
    });
    expect(output).not.toBe('');
  });

  it('leads to an upstream with the instances, and their weights in proportion', () => {
    expect(stage.gateway.get('upstreams', 'default.orders')?.['nodes']).toMatchObject([
      { host: '10.2.0.1', port: 8080, weight: 1 },
      { host: '10.2.0.2', port: 8080, weight: 2 },
    ]);
  });

  it('makes a plan with saved instances', async () => {
    const instance = { ip: '10.2.0.1', port: 8080, weight: 1, healthy: true, enabled: true };
    const { code, plan } = await stage.plan({ cloud: { orders: { code: 0, data: [instance] } } });
    expect(code).toBe(2);
    expect(plan.upstreams).toMatchObject([{ nodes: [{ kind: 'remove', node: { host: '10.2.0.2' } }] }]);
  });

  it('gives the user of the operator only the permissions that it needs', async () => {
    const output = await stage.run(
      `user=$(kubectl -n gateway-upstream-system get secret nacos -o jsonpath='{.data.password}' | base64 -d)
       token=$(curl -fsS "$NACOS_URL/v3/auth/user/login" -d username=gateway-upstream-operator -d "password=$user" | jq -r .accessToken)
       curl -sS -o /dev/null -w '%{http_code}' -X POST -H "accessToken: $token" "$NACOS_URL/v3/client/ns/instance" \\
         -d serviceName=orders -d ip=10.2.0.9 -d port=80`,
      { NACOS_URL: `${nacos.url.origin}/nacos` },
    );
    expect(output).toBe('403');
  });
});
