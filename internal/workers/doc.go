// Package workers processes orders: inventory holds their stock, payment charges
// them and email informs the buyer how they ended. Each worker is a group of the queue
// (orders.Routes) and looks at the state of the order that it finds, because messages
// may come more than once and in any order.
package workers
