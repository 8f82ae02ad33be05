package check

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/crossfade-dev/crossfade/internal/spec"
)

// The bounds of one request: its time, how much of the body is read, and how much of it an error quotes.
const (
	requestTimeout = 10 * time.Second
	maxBody        = 1 << 20
	quotedBody     = 200
)

// httpProbe prepares a request. Each try uses a connection of its own, as a new user does, and follows no redirect: the
// answer itself is what is checked.
func httpProbe(h spec.HTTPCheck, t Target) (func(context.Context) (string, error), error) {
	method := h.Method
	if method == "" {
		method = http.MethodGet
	}
	header := http.Header{}
	for name, value := range h.Headers {
		expanded, err := expand(value, t)
		if err != nil {
			return nil, err
		}
		header.Set(name, expanded)
	}
	if _, _, err := address(h, t); h.Route == "" && err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       requestTimeout,
	}
	return func(ctx context.Context) (string, error) {
		target, host, err := address(h, t)
		if err != nil {
			return "", err
		}
		request, err := http.NewRequestWithContext(ctx, method, target, nil)
		if err != nil {
			return "", err
		}
		request.Header = header.Clone()
		if request.Host = header.Get("Host"); host != "" {
			request.Host = host
		}
		return ask(client, request, h)
	}, nil
}

// address is where the request goes, and under which Host ("" for that of the URL). A route is looked up at every try, as
// it moves at the switch.
func address(h spec.HTTPCheck, t Target) (target, host string, err error) {
	base := h.URL
	if h.Route != "" {
		if t.Route == nil {
			return "", "", fmt.Errorf("the route %s is not known here", h.Route)
		}
		if base, host, err = t.Route(h.Route); err != nil {
			return "", "", err
		}
		path, err := expand(h.Path, t)
		if err != nil {
			return "", "", err
		}
		return strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(path, "/"), host, nil
	}
	if target, err = expand(base, t); err != nil {
		return "", "", err
	}
	parsed, err := url.Parse(target)
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" {
		return "", "", fmt.Errorf("%q is not an http or https URL", target)
	}
	return target, "", nil
}

func ask(client *http.Client, request *http.Request, h spec.HTTPCheck) (string, error) {
	begin := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("%s %s did not answer: %w", request.Method, redacted(request), unwrapURL(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return "", fmt.Errorf("%s %s broke off its answer: %w", request.Method, redacted(request), err)
	}
	want := h.Status
	if want == 0 {
		want = http.StatusOK
	}
	if response.StatusCode != want {
		return "", fmt.Errorf("%s %s answered %d, wanted %d: %s", request.Method, redacted(request), response.StatusCode, want, quote(body))
	}
	if !strings.Contains(string(body), h.Contains) {
		return "", fmt.Errorf("%s %s answered %d without %q: %s", request.Method, redacted(request), response.StatusCode, h.Contains, quote(body))
	}
	return fmt.Sprintf("%s %s answered %d in %s", request.Method, redacted(request), response.StatusCode, time.Since(begin).Round(time.Millisecond)), nil
}

// redacted is the URL without a password, with the host that was asked for when it is another.
func redacted(request *http.Request) string {
	text := request.URL.Redacted()
	if request.Host != "" && request.Host != request.URL.Host {
		text += " (Host " + request.Host + ")"
	}
	return text
}

// unwrapURL takes off the method and URL that the client puts before its errors.
func unwrapURL(err error) error {
	if wrapped, ok := err.(*url.Error); ok { //nolint:errorlint // the outermost is meant
		return wrapped.Err
	}
	return err
}

func quote(body []byte) string {
	text := string(body[:min(len(body), quotedBody)])
	for !utf8.ValidString(text) && len(text) > 0 && len(text) > quotedBody-utf8.UTFMax {
		text = text[:len(text)-1] // cut in the middle of a character
	}
	return oneLine(strings.ToValidUTF8(text, "?"))
}
