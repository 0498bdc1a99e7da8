package orderproof

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"ratelimiter/models"
)

// send sends a request and returns the status and body of the response; 0: there was
// none.
func (s *shop) send(method, url, key string, body any, header ...string) (int, []byte) {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			s.Error(err)
			return 0, nil
		}
		content = bytes.NewReader(data)
	}
	request, err := http.NewRequest(method, url, content)
	if err != nil {
		s.Error(err)
		return 0, nil
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := httpClient.Do(request)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, nil // it was cut off
	}
	return response.StatusCode, answer
}

// anyServer returns the base URL of one of the servers.
func (s *shop) anyServer() string {
	return s.api[s.servers.names[rand.IntN(len(s.servers.names))]]
}

// retry sends a request to any server until the status is final: not a 5xx, nor a
// conflict with an earlier attempt that is still in progress. More than refused is
// no fault of the servers while they are killed; the end of the test is its bound.
func (s *shop) retry(method, path, key string, body any, header ...string) (int, []byte) {
	for s.Context().Err() == nil {
		status, answer := s.send(method, s.anyServer()+path, key, body, header...)
		inProgress := status == http.StatusConflict && bytes.Contains(answer, []byte("idempotency_in_progress"))
		if status != 0 && status < 500 && !inProgress {
			return status, answer
		}
		time.Sleep(time.Duration(5+rand.IntN(20)) * time.Millisecond) // not as fast as it can
	}
	return 0, nil
}

// place places an order until it is acknowledged.
func (s *shop) place(o planned) (a acknowledged, ok bool) {
	items := make([]map[string]any, len(o.Items))
	for i, item := range o.Items {
		items[i] = map[string]any{"product_id": item.ProductID, "quantity": item.Quantity}
	}
	body := map[string]any{"items": items, "email": "buyer@example.com", "payment_token": o.Token}
	status, answer := s.retry(http.MethodPost, "/v1/orders", s.buyers[o.Buyer], body, "Idempotency-Key", o.Key)
	var order models.Order
	if status != http.StatusCreated || json.Unmarshal(answer, &order) != nil {
		s.Errorf("place %+v: got status %d, %s", o, status, answer)
		return a, false
	}
	return acknowledged{planned: o, ID: order.ID, Total: order.Total}, true
}

// cancel asks for the cancellation until there is an answer.
func (s *shop) cancel(a *acknowledged) {
	status, answer := s.retry(http.MethodPost, "/v1/orders/"+a.ID+"/cancel", s.buyers[a.Buyer], nil)
	if status != http.StatusOK && status != http.StatusConflict {
		s.Errorf("cancel %s: got status %d, %s", a.ID, status, answer)
	}
	a.Cancelled = status
}

// market places planned orders by several buyers at once.
type market struct {
	*shop
	window int // acknowledged orders without an email, at most, except those of tok_down

	mu           sync.Mutex
	todo         []planned
	acknowledged []*acknowledged
	lasting      int // of tok_down
}

// open places all orders and returns when they are acknowledged. progress is called
// with the number of acknowledged orders, after each.
func (m *market) open(buyers int, progress func(int)) {
	var running sync.WaitGroup
	for range buyers {
		running.Go(func() { m.buy(progress) })
	}
	running.Wait()
}

// buy is one buyer: it places one order after the other, sometimes twice as if the
// answer had been lost, and cancels some later.
func (m *market) buy(progress func(int)) {
	var mine []*acknowledged
	for {
		o, more := m.next()
		if !more {
			break
		}
		a, ok := m.place(o)
		if !ok {
			continue
		}
		if rand.IntN(50) == 0 {
			if again, ok := m.place(o); ok && again.ID != a.ID {
				m.Errorf("the key %s has two orders: %s and %s", o.Key, a.ID, again.ID)
			}
		}
		mine = append(mine, &a)
		for _, earlier := range mine {
			if earlier.CancelAfter >= 0 && earlier.Cancelled == 0 {
				if earlier.CancelAfter--; earlier.CancelAfter < 0 {
					m.cancel(earlier)
				}
			}
		}
		m.mu.Lock()
		m.acknowledged = append(m.acknowledged, &a)
		if o.Token == "tok_down" {
			m.lasting++
		}
		n := len(m.acknowledged)
		m.mu.Unlock()
		progress(n)
	}
}

// next waits until few orders are in progress and returns the next order to place.
func (m *market) next() (o planned, more bool) {
	m.await("room in the window", patience, func() bool {
		mailed := len(m.mails())
		m.mu.Lock()
		defer m.mu.Unlock()
		if more = len(m.todo) > 0; !more {
			return true
		}
		if len(m.acknowledged)-m.lasting-mailed > m.window {
			return false
		}
		o, m.todo = m.todo[0], m.todo[1:]
		return true
	})
	return o, more
}
