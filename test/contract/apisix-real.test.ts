import { it } from 'vitest';
import { apisixHarness } from './apisix-harness.ts';
import { testGatewayDriver } from './gateway-driver.ts';

// A real gateway keeps what it holds: the suite touches only ids that begin with `conformance-`.
const adminUrl = process.env['APISIX_ADMIN_URL'];
const adminKey = process.env['APISIX_ADMIN_KEY'];

if (adminUrl === undefined || adminKey === undefined) {
  it('the APISIX driver on a real gateway', ({ skip }) => {
    skip('APISIX_ADMIN_URL and APISIX_ADMIN_KEY are not set');
  });
} else {
  testGatewayDriver({
    name: `The APISIX driver on ${new URL(adminUrl).host}`,
    create: async () => apisixHarness({ adminUrl, adminKey }, async () => {}),
    randomUpstreams: 50,
    mostUpstreams: 600,
  });
}
