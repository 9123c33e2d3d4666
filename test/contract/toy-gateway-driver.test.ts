import { toyHarness } from '../toys/toy-gateway/harness.ts';
import { testGatewayDriver } from './gateway-driver.ts';

testGatewayDriver({ name: 'Toy, a pull-type gateway', create: toyHarness, isPull: true, mostUpstreams: 200 });
